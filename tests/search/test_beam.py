import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.architectures.contract import Carry
from seqjax.data.tokenizer import BOS, EOS, PAD, UNK
from seqjax.errors import UserError
from seqjax.search.beam import beam_search
from seqjax.search.greedy import greedy_search
from seqjax.search.hypotheses import LOWEST

NORMALIZATIONS = [
    ("none", 0.0),
    ("gnmt", 0.6),
    ("gnmt", 2.0),
    ("gnmt", -1.0),
    ("plain", 1.0),
    ("plain", 4.0),
    ("plain", -0.5),
]
LENGTH = 10


@functools.cache
def _compiled(step, **options):
    return jax.jit(functools.partial(beam_search, step, **options))


def search(model, limits, sentences=None, penalty=0.6, min_length=0, patience=0.0, **options):
    sentences = list(range(len(limits))) if sentences is None else sentences
    run = _compiled(model.step, **{"max_length": LENGTH, **options})
    carry = model.start(sentences, options["beam_size"])
    limits = jnp.asarray(limits, jnp.int32)
    traced = {"penalty": penalty, "min_length": min_length, "patience": patience}
    return jax.device_get(run(carry, limits, **traced))


def reference_norms(normalization, penalty):
    lengths = np.maximum(np.arange(LENGTH + 1), 1)
    base = {"none": 1.0 + 0 * lengths, "plain": lengths, "gnmt": (5 + lengths) / 6}
    return base[normalization] ** penalty


def assert_equal(found, row, expected):
    """Asserts that `expected`, a list of (score, log probability, tokens), was found in a row."""
    for place, (score, log_probability, tokens) in enumerate(expected):
        length = found.lengths[row, place]
        assert tuple(found.tokens[row, place, :length]) == tokens, place
        assert not found.tokens[row, place, length:].any()
        np.testing.assert_allclose(found.scores[row, place], score, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            found.log_probabilities[row, place], log_probability, rtol=1e-4, atol=1e-5
        )
    assert not found.lengths[row, len(expected) :].any()
    assert (found.scores[row, len(expected) :] <= LOWEST).all()


def ranked(model, sentence, outputs, norms):
    log_probabilities = [model.log_probability(sentence, tokens) for tokens in outputs]
    scored = [
        (log_probability / norms[len(tokens)], log_probability, tokens)
        for log_probability, tokens in zip(log_probabilities, outputs, strict=True)
    ]
    return sorted(scored, reverse=True)


def beam_reference(model, sentence, limit, beam_size, n_best, norms, min_length, quota=math.inf):
    """The same search with lists, to the limit or until `quota` hypotheses have finished."""
    live, finished = [(0.0, ())], []
    for time in range(limit):
        candidates = []
        for total, past in live:
            for token, log_probability in enumerate(model.log_probabilities(sentence, past)):
                if token in (PAD, BOS) or (token != EOS and time == limit - 1):
                    continue
                if token == EOS and time < min(min_length, limit - 1):
                    continue
                candidates.append((total + log_probability, (*past, token)))
        candidates = sorted(candidates, reverse=True)[: 2 * beam_size]
        ended = [c for c in candidates[:beam_size] if c[1][-1] == EOS]
        finished += [(total / norms[len(tokens)], total, tokens) for total, tokens in ended]
        if len(finished) >= quota:
            finished = finished[:quota]
            break
        live = [c for c in candidates if c[1][-1] != EOS][:beam_size]
    return sorted(finished, reverse=True)[:n_best]


@pytest.mark.parametrize("min_length", [0, 2])
@pytest.mark.parametrize(("normalization", "penalty"), NORMALIZATIONS)
def test_a_beam_as_wide_as_the_space_ranks_everything(
    history_model, normalization, penalty, min_length
):
    limits = [4, 3, 1, 4, 2, 5, 5]
    model = history_model(len(limits), 5)
    found = search(
        model,
        limits,
        beam_size=32,
        n_best=32,
        normalization=normalization,
        penalty=penalty,
        min_length=min_length,
    )
    norms = reference_norms(normalization, penalty)
    for row, limit in enumerate(limits):
        everything = list(model.outputs(limit, min_length))
        assert_equal(found, row, ranked(model, row, everything, norms))


# Where tokens are nearly certain, long hypotheses win in the end.
@pytest.mark.parametrize(("end", "spread"), [(-1.0, 1.5), (1.0, 1.5), (1.0, 12.0)])
@pytest.mark.parametrize(("beam_size", "n_best"), [(3, 1), (5, 4)])
@pytest.mark.parametrize(("normalization", "penalty"), NORMALIZATIONS)
def test_stopping_early_changes_nothing(
    history_model, normalization, penalty, beam_size, n_best, end, spread
):
    limits = [10, 9, 5, 2, 1, 10, 7, 10]
    model = history_model(len(limits), 8, end=end, spread=spread)
    min_length = 2 if beam_size == 3 else 0
    found = search(
        model,
        limits,
        beam_size=beam_size,
        n_best=n_best,
        normalization=normalization,
        penalty=penalty,
        min_length=min_length,
    )
    norms = reference_norms(normalization, penalty)
    for row, limit in enumerate(limits):
        expected = beam_reference(model, row, limit, beam_size, n_best, norms, min_length)
        assert_equal(found, row, expected)


@pytest.mark.parametrize(("patience", "quota"), [(0.1, 1), (1.0, 5), (1.5, 7)])
def test_patience_counts_finished_hypotheses(history_model, patience, quota):
    limits = [10, 9, 5, 2, 1, 10, 7, 10]
    model = history_model(len(limits), 8, end=1.0)
    found = search(
        model,
        limits,
        beam_size=5,
        n_best=4,
        normalization="plain",
        penalty=1.5,
        patience=patience,
    )
    norms = reference_norms("plain", 1.5)
    for row, limit in enumerate(limits):
        expected = beam_reference(model, row, limit, 5, 4, norms, 0, quota)
        assert_equal(found, row, expected)


def test_beam_one_is_greedy(history_model):
    limits = jnp.array([10, 0, 5, 10, 1, 10])
    model = history_model(6, 8, end=-0.5)
    found = search(model, limits, beam_size=1, min_length=3)
    greedy = jax.jit(functools.partial(greedy_search, model.step, max_length=LENGTH))(
        model.start(range(6), 1), limits, min_length=3
    )
    jax.tree.map(np.testing.assert_allclose, found, jax.device_get(greedy))


@pytest.mark.parametrize(
    "rows", [[7, 6, 5, 4, 3, 2, 1, 0], [4] * 8, [2, 2, 2, 7, 6, 2, 2, 2], [0, 5, 3]]
)
def test_result_does_not_depend_on_company(history_model, rows):
    limits = np.array([3, 10, 0, 7, 10, 5, 10, 1])
    model = history_model(len(limits), 8, end=0.5)
    options = {"beam_size": 5, "n_best": 4, "normalization": "gnmt"}
    together = search(model, limits, **options)
    apart = search(model, limits[rows], sentences=rows, **options)
    jax.tree.map(
        lambda some, all_: np.testing.assert_array_equal(some, all_[rows]), apart, together
    )


def test_max_length_beyond_the_limits_changes_nothing(history_model):
    model = history_model(8, 8)
    limits = [5, 7, 2, 7, 7, 0, 1, 6]
    options = {"beam_size": 5, "n_best": 4, "normalization": "gnmt"}
    loose = search(model, limits, **options)
    tight = search(model, limits, max_length=7, **options)
    np.testing.assert_array_equal(loose.tokens[..., :7], tight.tokens)
    assert not loose.tokens[..., 7:].any()
    np.testing.assert_array_equal(loose.scores, tight.scores)


def test_best_are_distinct_and_in_order(history_model):
    model = history_model(8, 8)
    found = search(model, [9] * 8, beam_size=5, n_best=4, normalization="gnmt")
    assert (np.diff(found.scores, axis=1) <= 0).all()
    for row in found.tokens:
        assert len({tuple(tokens) for tokens in row}) == 4


def test_a_row_without_output_is_empty_and_costs_no_step(history_model):
    model = history_model(3, 8, end=4.0)
    steps = []

    def step(carry, tokens):
        jax.debug.callback(lambda position: steps.append(int(position)), carry.position[0])
        return model.step(carry, tokens)

    run = _compiled(step, max_length=LENGTH, beam_size=2)

    def count(limits):
        steps.clear()
        found = run(model.start(range(3), 2), jnp.array(limits))
        jax.block_until_ready(found)
        jax.effects_barrier()
        return found, len(steps)

    found, none = count([0, 0, 0])
    assert none == 0
    for leaf in jax.tree.leaves(found):
        assert not leaf.any()
    found, alone = count([LENGTH, 0, 0])
    for leaf in jax.tree.leaves(found):
        assert not leaf[1:].any()
    assert 0 < alone < LENGTH
    assert count([2, 0, 1])[1] <= 2


def test_a_worse_finished_hypothesis_is_evicted():
    # Token 3 leads to a certain end; 'EOS at once' finishes first, with less.
    probabilities = np.full((4, 5), 1e-6)
    probabilities[BOS, [EOS, 3]] = 0.4, 0.6
    probabilities[3, EOS] = 1.0

    def step(carry, tokens):
        carry = carry.replace(position=carry.position + 1)
        return carry, jnp.log(jnp.asarray(probabilities, jnp.float32))[jnp.minimum(tokens, 3)]

    carry = Carry(fixed=None, moving=None, position=jnp.int32(0))
    options = {"max_length": 4, "beam_size": 2, "normalization": "none"}
    one = _compiled(step, n_best=1, **options)(carry, jnp.array([4]))
    two = _compiled(step, n_best=2, **options)(carry, jnp.array([4]))
    assert one.tokens[0].tolist() == [[3, EOS, PAD, PAD]]
    assert two.tokens[0].tolist() == [[3, EOS, PAD, PAD], [EOS, PAD, PAD, PAD]]


@pytest.mark.parametrize(
    ("penalty", "first_end", "later_end", "length"),
    [
        # ln .8 = -.223 at once, ln .2 / 8 = -.201 at the limit.
        (1.0, 0.8, 7, 8),
        # ln .3 = -1.20 at once, 2 ln .7 = -.71 with one more token.
        (-1.0, 0.3, 1, 2),
    ],
)
def test_waits_for_what_the_normalization_may_still_lift(penalty, first_end, later_end, length):
    probabilities = np.full((8, 5), 1e-9, np.float32)
    probabilities[:, 3] = 1.0
    probabilities[0, [EOS, 3]] = first_end, 1 - first_end
    probabilities[later_end, [EOS, 3]] = 1.0, 1e-9

    def step(carry, tokens):
        logits = jnp.log(jnp.asarray(probabilities))[carry.position]
        carry = carry.replace(position=carry.position + 1)
        return carry, jnp.broadcast_to(logits, (*tokens.shape, 5))

    carry = Carry(fixed=None, moving=None, position=jnp.int32(0))
    run = _compiled(step, max_length=8, beam_size=2, normalization="plain")
    assert run(carry, jnp.array([8]), penalty=penalty).lengths.tolist() == [[length]]


def test_ties_go_to_the_lower_token_and_what_is_impossible_is_not_returned():
    def step(carry, tokens):
        logits = jnp.array([9.0, 9.0, 0.0, 0.0, 0.0, -jnp.inf])
        carry = carry.replace(position=carry.position + 1)
        return carry, jnp.broadcast_to(logits, (*tokens.shape, 6))

    carry = Carry(fixed=None, moving=None, position=jnp.int32(0))
    run = _compiled(step, max_length=2, beam_size=4, n_best=4, normalization="none")
    found = run(carry, jnp.array([2]))
    assert found.tokens[0].tolist() == [[EOS, PAD], [3, EOS], [4, EOS], [PAD, PAD]]
    assert found.lengths[0].tolist() == [1, 2, 2, 0]
    assert not np.isnan(found.scores).any()


W1, W2 = 4, 5
# Probabilities of (EOS, w1, w2) after a prefix: the fake model of fairseq's tests of its
# sequence generator, two sentences.
FAIRSEQ = (
    {
        (): (0.0, 0.9, 0.1),
        (W1,): (1.0, 0.0, 0.0),
        (W2,): (0.0, 0.9, 0.1),
        (W2, W1): (0.0, 0.1, 0.9),
        (W2, W2): (0.6, 0.2, 0.2),
        (W2, W1, W2): (1.0, 0.0, 0.0),
        (W2, W1, W1): (1.0, 0.0, 0.0),
    },
    {
        (): (0.0, 0.7, 0.3),
        (W1,): (0.25, 0.35, 0.4),
        (W2,): (0.0, 0.1, 0.9),
        (W1, W2): (0.6, 0.4, 0.0),
        (W2, W2): (0.01, 0.0, 0.99),
        (W2, W2, W2): (0.1, 0.5, 0.4),
        (W1, W2, W1): (1.0, 0.0, 0.0),
    },
)


@functools.cache
def fairseq_model():
    """A decoder that walks the tree of prefixes: the children of node n are 2n+1 and 2n+2."""
    probabilities = np.zeros((2, 32, 6), np.float32)
    probabilities[..., EOS] = 1.0
    for sentence, prefixes in enumerate(FAIRSEQ):
        for prefix, values in prefixes.items():
            node = 0
            for token in prefix:
                node = 2 * node + token - W1 + 1
            probabilities[sentence, node, [EOS, W1, W2]] = values

    def step(carry, tokens):
        node = 2 * carry.moving + tokens - W1 + 1
        node = jnp.where(tokens == BOS, 0, jnp.minimum(node, 31))
        rows = jnp.arange(2)[:, None]
        carry = carry.replace(moving=node, position=carry.position + 1)
        return carry, jnp.log(jnp.asarray(probabilities))[rows, node]

    start = Carry(fixed=None, moving=jnp.zeros((2, 2), jnp.int32), position=jnp.int32(0))
    return step, start


A, B = ((W1, EOS), (0.9, 1.0)), ((W2, W1, W2, EOS), (0.1, 0.9, 0.9, 1.0))
C, D = ((W1, W2, W1, EOS), (0.7, 0.4, 0.4, 1.0)), ((W1, W2, EOS), (0.7, 0.4, 0.6))
E, F = ((W2, W2, EOS), (0.1, 0.1, 0.6)), ((W2, W2, EOS), (0.3, 0.9, 0.01))


@pytest.mark.parametrize(
    ("normalization", "penalty", "limit", "expected"),
    [
        ("plain", 1.0, 9, ((A, B), (C, D))),
        ("none", 1.0, 9, ((A, B), (D, C))),
        ("plain", 0.6, 9, ((A, B), (D, C))),
        ("plain", 5.0, 9, ((B, A), (C, D))),
        ("plain", 1.0, 3, ((A, E), (D, F))),
    ],
)
def test_vectors_of_fairseq(normalization, penalty, limit, expected):
    step, start = fairseq_model()
    run = _compiled(
        step, max_length=9, beam_size=2, n_best=2, normalization=normalization, patience=1
    )
    found = run(start, jnp.full(2, limit), penalty=penalty)
    for row, hypotheses in enumerate(expected):
        for place, (tokens, probabilities) in enumerate(hypotheses):
            length = len(tokens)
            assert tuple(found.tokens[row, place, :length].tolist()) == tokens
            assert found.lengths[row, place] == length
            norm = 1.0 if normalization == "none" else length**penalty
            expected_score = math.log(math.prod(probabilities)) / norm
            np.testing.assert_allclose(found.scores[row, place], expected_score, atol=1e-6)


@pytest.mark.parametrize("n_best", [0, 5])
def test_n_best_outside_the_beam_is_an_error(history_model, n_best):
    with pytest.raises(UserError, match=f"n_best = {n_best}: expected 1 to beam_size = 4"):
        search(history_model(1, 8), [3], beam_size=4, n_best=n_best)


def test_the_unknown_token_is_passed_over_where_it_may_not_be_an_output(history_model):
    """The others keep their probabilities: nothing is normalized anew."""
    model = history_model(3, 7, end=-0.5)
    options = {"beam_size": 3, "n_best": 3}
    assert UNK in search(model, [9, 5, 7], **options).tokens
    found = search(model, [9, 5, 7], unknown=False, **options)
    assert UNK not in found.tokens
    for row in range(3):
        tokens = tuple(found.tokens[row, 0, : found.lengths[row, 0]])
        expected = model.log_probability(row, tokens)
        np.testing.assert_allclose(found.log_probabilities[row, 0], expected, rtol=1e-4)
