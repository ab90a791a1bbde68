import collections
import math

import pytest

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
