"""Equality with the scan: by the reference of JAX on any machine, by cuDNN where it is."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

from seqjax.layers.cudnn_lstm import pack, run_cudnn
from seqjax.layers.recurrent import RecurrentLayer

ROWS, TIME, INPUTS, HIDDEN = 4, 6, 3, 5


@pytest.fixture
def params(wave):
    arrays = {
        "inputs": {"kernel": wave(INPUTS, 4 * HIDDEN), "bias": wave(4 * HIDDEN, seed=1)},
        "recurrent": wave(HIDDEN, 4 * HIDDEN, seed=2),
    }
    return jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), arrays)


def test_weights_lie_where_the_library_finds_them(params):
    weights = params["inputs"]["kernel"], params["recurrent"], params["inputs"]["bias"]
    packed = pack(weights)
    assert packed.shape == (rnn.get_num_params_in_lstm(INPUTS, HIDDEN, 1, False),)
    *ours, zeros = (part[0] for part in rnn.unpack_lstm_weights(packed, INPUTS, HIDDEN, 1, False))
    for found, expected in zip(ours, weights, strict=True):
        np.testing.assert_array_equal(found, expected.T)
    assert not np.any(zeros)


def test_starts_with_the_parameters_of_the_scan(lstm_operation):
    x, mask = np.zeros((ROWS, TIME, INPUTS), np.float32), np.ones((ROWS, TIME), bool)
    by_cudnn, by_scan = (
        RecurrentLayer(HIDDEN, "lstm", implementation=how).init(jax.random.key(0), x, mask)
        for how in (functools.partial(run_cudnn, operation=lstm_operation), None)
    )
    jax.tree.map(np.testing.assert_array_equal, by_cudnn, by_scan)
    bias = np.asarray(by_cudnn["params"]["inputs"]["bias"]).reshape(4, HIDDEN)
    np.testing.assert_array_equal(bias, np.array([[0], [1], [0], [0]]) * np.ones(HIDDEN))


@pytest.mark.parametrize(
    ("lengths", "starts"),
    [([6, 1, 4, 2], False), ([3, 0, 6, 0], True)],
    ids=["from_zeros", "from_states_with_empty_rows"],
)
@pytest.mark.parametrize("reverse", [False, True])
def test_equals_the_scan_forward_and_backward(
    lstm_operation, reverse, lengths, starts, params, wave
):
    mask = np.arange(TIME) < np.array(lengths)[:, None]
    x = jnp.asarray(wave(ROWS, TIME, INPUTS, seed=3), jnp.float32)
    state = None
    if starts:
        state = tuple(jnp.asarray(wave(ROWS, HIDDEN, seed=i), jnp.float32) for i in (4, 5))

    def run(implementation):
        layer = RecurrentLayer(HIDDEN, "lstm", reverse, implementation=implementation)

        def loss(params, x, state):
            outputs, last = layer.apply({"params": params}, x, mask, state)
            total = jnp.sum(outputs * wave(*outputs.shape, seed=6))
            total += sum(jnp.sum(part * wave(*part.shape, seed=7)) for part in last)
            return total, (outputs, last)

        # All that a GPU can be exact to: the scan's products would be rounded to TF32.
        with jax.default_matmul_precision("highest"):
            derive = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
            return derive(params, x, state)

    implementation = functools.partial(run_cudnn, operation=lstm_operation)
    (gradients, found), (scan_gradients, expected) = run(implementation), run(None)
    assert not np.any(np.asarray(found[0])[~mask])
    jax.tree.map(
        lambda ours, scans: np.testing.assert_allclose(ours, scans, rtol=1e-5, atol=1e-5),
        found,
        expected,
    )
    jax.tree.map(
        lambda ours, scans: np.testing.assert_allclose(ours, scans, rtol=1e-4, atol=1e-5),
        gradients,
        scan_gradients,
    )
    assert all(np.any(leaf) for leaf in jax.tree.leaves(scan_gradients))
