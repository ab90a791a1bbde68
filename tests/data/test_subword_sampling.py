import collections
import heapq
import itertools
import math

import pytest

from seqjax.data import subword_sampling
from seqjax.data.subword_sampling import BpeDropout, UnigramSampler


def test_unigram_probabilities():
    scores = {"▁": (4, -1.0), "a": (5, -2.0), "▁a": (6, -1.5), "aa": (7, -3.0)}
    sampler = UnigramSampler(scores, 0.5)
    draws = collections.Counter(tuple(sampler.sample("aa", seed)) for seed in range(20_000))
    # Each segmentation's log probability, times alpha.
    logits = {(4, 5, 5): -2.5, (4, 7): -2.0, (6, 5): -1.75}
    total = sum(math.exp(logit) for logit in logits.values())
    assert set(draws) == set(logits)
    for ids, logit in logits.items():
        assert draws[ids] / 20_000 == pytest.approx(math.exp(logit) / total, abs=0.015)


def test_bpe_dropout_probabilities():
    scores = {"▁": (4, -9.0), "a": (5, -9.0), "▁a": (6, -1.0), "aa": (7, -2.0)}
    dropout = BpeDropout(scores, 0.25)
    draws = collections.Counter(tuple(dropout.sample("aa", seed)) for seed in range(20_000))
    # '▁a' is merged unless dropped, then 'aa' unless that is dropped as well.
    expected = {(6, 5): 0.75, (4, 7): 0.25 * 0.75, (4, 5, 5): 0.25 * 0.25}
    assert set(draws) == set(expected)
    for ids, share in expected.items():
        assert draws[ids] / 20_000 == pytest.approx(share, abs=0.015)


# Pieces whose merges hide, follow and equal each other.
_PIECES = ["aa", "ab", "▁a", "aab", "ba", "aaa", "▁aa", "abaa"]
_SCORES = {piece: (7 + rank, -float(rank)) for rank, piece in enumerate(_PIECES)}
_SCORES |= {"▁": (4, -99.0), "a": (5, -99.0), "b": (6, -99.0)}


def by_definition(pieces, p):
    """Returns each segmentation's probability: at each step all pairs are dropped or not."""
    pairs = [i for i in range(len(pieces) - 1) if pieces[i] + pieces[i + 1] in _SCORES]
    shares = collections.Counter()
    for drops in itertools.product([True, False], repeat=len(pairs)):
        weight = math.prod(p if drop else 1 - p for drop in drops)
        left = [i for i, drop in zip(pairs, drops, strict=True) if not drop]
        if not left:
            shares[tuple(_SCORES[piece][0] for piece in pieces)] += weight
            continue
        i = max(left, key=lambda i: (_SCORES[pieces[i] + pieces[i + 1]][1], -i))
        merged = [*pieces[:i], pieces[i] + pieces[i + 1], *pieces[i + 2 :]]
        for ids, share in by_definition(merged, p).items():
            shares[ids] += weight * share
    return shares


def by_draws(dropout, word, p):
    """Returns each segmentation's probability, from all that can be drawn."""
    shares = collections.Counter()

    def follow(ranks, weight):
        for rank in itertools.count():
            drawn = iter([*ranks, rank])
            try:
                ids = dropout._segment(word, lambda drawn=drawn: p ** (next(drawn) + 0.5))
            except StopIteration:
                follow([*ranks, rank], weight * p**rank * (1 - p))
            else:
                # Any higher rank ends here, too.
                shares[tuple(ids)] += weight * p**rank
                return

    follow([], 1.0)
    return shares


@pytest.mark.parametrize("p", [0.1, 0.6])
@pytest.mark.parametrize("word", ["▁aab", "▁aaabaa", "▁abab", "b"])
def test_bpe_dropout_is_drawn_anew_at_each_step(word, p):
    expected = by_definition(list(word), p)
    found = by_draws(BpeDropout(_SCORES, p), word, p)
    assert set(found) == set(expected) and sum(found.values()) == pytest.approx(1)
    for ids, share in expected.items():
        assert found[ids] == pytest.approx(share)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_bpe_dropout_takes_little_longer_for_longer_words(p, monkeypatch):
    pops = 0

    pop = heapq.heappop

    def counting(heap):
        nonlocal pops
        pops += 1
        return pop(heap)

    monkeypatch.setattr(subword_sampling.heapq, "heappop", counting)
    taken = []
    for length in (1000, 4000):
        pops = 0
        BpeDropout(_SCORES, p).sample("aabab" * (length // 5), 3)
        taken.append(pops)
    assert 1000 < taken[0] < 10_000
    assert taken[1] < 5 * taken[0]


def test_lattices_of_texts_without_spaces_are_not_kept():
    sampler = UnigramSampler(_SCORES, 0.5)
    for number in range(500):
        sampler.sample(f"{number:031b}".replace("0", "a").replace("1", "b") * 2, 1)
    assert not sampler._kept


def test_lattices_of_many_words_take_bounded_memory(monkeypatch):
    monkeypatch.setattr(subword_sampling, "_KEPT_CHARACTERS", 200)
    sampler, fresh = UnigramSampler(_SCORES, 0.5), UnigramSampler(_SCORES, 0.5)
    for number in range(300):
        word = f"{number:09b}".replace("0", "a").replace("1", "b")
        assert sampler.sample(word, number) == UnigramSampler(_SCORES, 0.5).sample(word, number)
        assert sum(map(len, sampler._kept)) <= 200
    calls = []
    monkeypatch.setattr(fresh, "_lattice", lambda word: calls.append(word) or [([], [])])
    for _ in range(3):
        fresh._word_lattice("▁ab")
    assert calls == ["▁ab"]
