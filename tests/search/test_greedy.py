import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.architectures.contract import Carry
from seqjax.data.tokenizer import BOS, EOS, PAD, UNK
from seqjax.search.greedy import greedy_search
from seqjax.search.hypotheses import length_norms

LENGTH = 9


def greedy_reference(model, sentence, limit, min_length):
    tokens = ()
    while len(tokens) < limit and EOS not in tokens:
        scores = model.log_probabilities(sentence, tokens).copy()
        scores[[PAD, BOS]] = -np.inf
        if len(tokens) < min_length:
            scores[EOS] = -np.inf
        tokens += (EOS if len(tokens) == limit - 1 else int(scores.argmax()),)
    return tokens


@pytest.mark.parametrize("min_length", [0, 3, 20])
@pytest.mark.parametrize("end", [-1.0, 0.5])
def test_equals_a_plain_loop(history_model, end, min_length):
    limits = [9, 1, 4, 0, 8, 9, 2, 9]
    model = history_model(len(limits), 7, end=end)

    @jax.jit
    def search(carry, limits):
        return greedy_search(
            model.step, carry, limits, max_length=LENGTH, min_length=min_length, penalty=0.8
        )

    found = search(model.start(range(len(limits)), 1), jnp.asarray(limits))
    assert found.tokens.shape == (len(limits), 1, LENGTH)
    norms = length_norms("gnmt", 0.8, LENGTH)
    for row, limit in enumerate(limits):
        expected = greedy_reference(model, row, limit, min_length)
        assert found.lengths[row, 0] == len(expected)
        assert found.tokens[row, 0].tolist() == [*expected, *[PAD] * (LENGTH - len(expected))]
        log_probability = model.log_probability(row, expected)
        np.testing.assert_allclose(found.log_probabilities[row, 0], log_probability, atol=1e-5)
        score = log_probability / norms[len(expected)]
        np.testing.assert_allclose(found.scores[row, 0], score, atol=1e-5)


def test_result_does_not_depend_on_company(history_model):
    model = history_model(6, 7, end=-0.5)
    limits = np.array([3, 9, 0, 7, 9, 5])

    def search(rows):
        run = jax.jit(functools.partial(greedy_search, model.step, max_length=LENGTH))
        return run(model.start(rows, 1), jnp.asarray(limits[rows]))

    together = search(list(range(6)))
    for rows in ([4], [5, 3, 1]):
        jax.tree.map(
            lambda some, all_, rows=rows: np.testing.assert_array_equal(some, all_[np.array(rows)]),
            search(rows),
            together,
        )


def test_padding_and_start_symbols_are_never_chosen_and_ties_go_to_the_lower_token():
    def step(carry, tokens):
        logits = jnp.array([9.0, 8.0, 1.0, 2.0, 2.0])
        return carry.replace(position=carry.position + 1), jnp.broadcast_to(
            logits, (*tokens.shape, 5)
        )

    carry = Carry(fixed=None, moving=None, position=jnp.int32(0))
    found = greedy_search(step, carry, jnp.array([4]), max_length=5)
    assert found.tokens.tolist() == [[[UNK, UNK, UNK, EOS, PAD]]]
    found = greedy_search(step, carry, jnp.array([4]), max_length=5, unknown=False)
    assert found.tokens.tolist() == [[[4, 4, 4, EOS, PAD]]]


def test_stops_with_the_last_sentence(history_model):
    model = history_model(3, 7, end=3.0)
    steps = []

    def step(carry, tokens):
        jax.debug.callback(lambda position: steps.append(int(position)), carry.position[0])
        return model.step(carry, tokens)

    found = greedy_search(
        step, model.start(range(3), 1), jnp.array([LENGTH, 0, LENGTH]), max_length=LENGTH
    )
    longest = int(found.lengths.max())
    jax.effects_barrier()
    assert longest < LENGTH
    assert len(steps) == longest


def test_impossible_tokens_give_no_nan():
    def step(carry, tokens):
        logits = jnp.array([-jnp.inf, -jnp.inf, -jnp.inf, 0.0])
        return carry.replace(position=carry.position + 1), jnp.broadcast_to(
            logits, (*tokens.shape, 4)
        )

    carry = Carry(fixed=None, moving=None, position=jnp.int32(0))
    found = greedy_search(step, carry, jnp.array([3]), max_length=3)
    assert found.tokens.tolist() == [[[3, 3, EOS]]]
    assert np.isfinite(found.scores).all()
