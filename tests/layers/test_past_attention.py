import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.layers.past_attention import PastAttention

_KINDS = ("additive", "dot", "scaled_dot", "general", "concat", "additive_normalized")


def _layer(kind, window):
    layer = PastAttention(kind, width=4, window=window, inner=3)
    states = jnp.asarray(np.random.RandomState(0).standard_normal((2, 7, 4)), jnp.float32)
    variables = layer.init(jax.random.key(0), states, _empty(layer, 2))
    return layer, variables, states


def _empty(layer, rows):
    return layer.apply({}, rows, method="empty")


def test_each_state_reads_the_states_before_it():
    layer, variables, states = _layer("dot", window=3)
    context, _ = layer.apply(variables, states, _empty(layer, 2))
    h = np.asarray(states[0], np.float64)
    np.testing.assert_array_equal(context[:, 0], 0.0)
    for t in range(1, 7):
        before = h[max(t - 3, 0) : t]
        weights = np.exp(before @ h[t])
        expected = weights @ before / weights.sum()
        np.testing.assert_allclose(context[0, t], expected, atol=1e-5)


@pytest.mark.parametrize("kind", _KINDS)
def test_parts_of_a_sequence_give_what_the_whole_gives(kind):
    layer, variables, states = _layer(kind, window=3)
    apply = jax.jit(layer.apply)
    whole, last = apply(variables, states, _empty(layer, 2))
    past, parts = _empty(layer, 2), []
    for part in (states[:, :2], states[:, 2:3], states[:, 3:]):
        context, past = apply(variables, part, past)
        parts.append(context)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, atol=1e-6)
    np.testing.assert_array_equal(past.states, last.states)
    assert past.count.tolist() == last.count.tolist() == [3, 3]


def test_positions_that_do_not_count_leave_no_trace():
    layer, variables, states = _layer("general", window=3)
    _, past = layer.apply(variables, states, _empty(layer, 2), jnp.asarray([2, 0]))
    _, short = layer.apply(variables, states[:, :2], _empty(layer, 2))
    np.testing.assert_array_equal(past.states[0], short.states[0])
    np.testing.assert_array_equal(past.states[1], 0.0)
    assert past.count.tolist() == [2, 0]
