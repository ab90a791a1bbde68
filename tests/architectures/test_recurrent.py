"""Recurrent stacks: equality with torch's, and what their options do."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.architectures.encoder_decoder import build
from seqjax.architectures.recurrent import RecurrentEncoder
from seqjax.config import default_config
from seqjax.layers.recurrent import CELLS

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "torch" / "recurrent.npz")
STACKS = sorted({key.rpartition("/")[0] for key in GOLDENS if key.startswith("stack/")})
HIDDEN = 5
SOURCE = np.array([[5, 9, 4, 7, 2], [8, 2, 0, 0, 0], [6, 6, 10, 2, 0]], np.int32)
TARGET = np.array([[1, 4, 12, 5], [1, 9, 9, 4], [1, 5, 4, 8]], np.int32)


def torch_layer(arrays, cell, end):
    """Returns the parameters of one layer and direction; torch's two biases are one here."""
    bias, own = arrays[f"bias_ih_{end}"], arrays[f"bias_hh_{end}"]
    params = {"recurrent": arrays[f"weight_hh_{end}"].T}
    if cell == "gru":
        params["recurrent_bias"] = own[-HIDDEN:]
        own = np.concatenate([own[:-HIDDEN], np.zeros(HIDDEN, np.float32)])
    params["inputs"] = {"kernel": arrays[f"weight_ih_{end}"].T, "bias": bias + own}
    return params


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_equals_torch_with_padded_lengths(stack):
    _, cell, layers, direction = stack.split("/")
    start = f"{stack}/"
    arrays = {key.removeprefix(start): GOLDENS[key] for key in GOLDENS if key.startswith(start)}
    sides = {"ahead": "", "back": "_reverse"} if direction == "both" else {"ahead": ""}
    params = {
        f"{side}_{i}": torch_layer(arrays, cell, f"l{i}{end}")
        for side, end in sides.items()
        for i in range(int(layers))
    }
    encoder = RecurrentEncoder(kind=cell, layers=int(layers), width=HIDDEN, direction=direction)
    x = jnp.asarray(GOLDENS[f"{cell}/x"])
    memory = jax.jit(encoder.apply)({"params": params}, x, GOLDENS["lengths"])
    np.testing.assert_allclose(memory.states, arrays["output"], rtol=1e-5, atol=1e-5)
    for layer, states in enumerate(memory.last):
        assert len(states) == CELLS[cell].states
        for i, state in enumerate(states):
            of_sides = arrays[f"last{i}"].reshape(int(layers), len(sides), 3, HIDDEN)[layer]
            expected = np.concatenate(list(of_sides), axis=-1)
            np.testing.assert_allclose(state, expected, rtol=1e-5, atol=1e-5)


def make(filled, **changes):
    config = default_config().model
    for stack in (config.encoder, config.decoder):
        stack.update(kind="gru", layers=2, width=8, heads=2, dropout=0.0)
        stack.update({key: value for key, value in changes.items() if key in stack})
    model = build(config, 13, 13)
    shapes = jax.eval_shape(model.init, jax.random.key(0), SOURCE, TARGET)["params"]
    return model, {"params": filled(shapes)}


@pytest.mark.parametrize("order", ["update_first", "attend_first"])
@pytest.mark.parametrize("variational", [False, True])
def test_dropout_between_layers_acts_and_variational_dropout_is_one_mask(
    order, variational, filled
):
    model, variables = make(
        filled, dropout=0.5, variational=variational, attention="additive", attention_order=order
    )
    key = jax.random.key(1)
    # One word everywhere: positions differ by what is dropped and by their past alone.
    source = np.full((3, 5), 7, np.int32)

    def vectors(module):
        x = jnp.ones((3, 5, 8))
        return module.encoder.drop(x, False)

    dropped = np.asarray(model.apply(variables, method=vectors, rngs={"dropout": key}))
    same = (dropped == dropped[:, :1]).all()
    assert same == variational and 0.2 < (dropped == 0).mean() < 0.8
    still = model.apply(variables, source, TARGET)
    shaken = model.apply(variables, source, TARGET, False, rngs={"dropout": key})
    again = model.apply(variables, source, TARGET, False, rngs={"dropout": key})
    np.testing.assert_array_equal(shaken, again)
    assert np.abs(np.asarray(shaken - still)).max() > 0.05


def test_residual_layers_pass_their_inputs_on_and_drop_nothing_of_them(filled):
    model, variables = make(filled, residual=True, dropout=0.5)
    params = variables["params"]
    # Layers from the second on that say nothing leave what they got as it was.
    for name in [name for name in params["encoder"] if name.endswith("_1")]:
        params["encoder"][name] = jax.tree.map(jnp.zeros_like, params["encoder"][name])

    def states(model, params, still):
        keys = {"dropout": jax.random.key(1)}
        return model.apply({"params": params}, SOURCE, still, method="encode", rngs=keys).states

    one, _ = make(filled, layers=1, dropout=0.5)
    first = {k: v for k, v in params["encoder"].items() if k.endswith("_0")}
    expected = states(one, {**params, "encoder": first}, True)
    np.testing.assert_allclose(states(model, params, True), expected, rtol=1e-6)
    # Dropout acts on what a layer reads, not on what goes past it: nothing real is zero.
    assert (np.asarray(states(model, params, False))[0] != 0).all()


def test_a_backward_encoder_ends_at_the_first_word(filled):
    model, variables = make(filled, direction="backward")
    summary = model.apply(variables, SOURCE, method="encode").summary
    states = model.apply(variables, SOURCE, method="encode").states
    np.testing.assert_array_equal(summary, states[:, 0])
    model, variables = make(filled, direction="forward")
    memory = model.apply(variables, SOURCE, method="encode")
    last = np.asarray(memory.states)[np.arange(3), [4, 1, 3]]
    np.testing.assert_array_equal(memory.summary, last)


@pytest.mark.parametrize("bridge", ["last", "zeros", "projection"])
def test_a_bridge_brings_what_it_says(bridge, filled):
    model, variables = make(filled, bridge=bridge, direction="forward", attention="dot")
    memory = model.apply(variables, SOURCE, method="encode")
    carry = model.apply(variables, memory, 2, 8, method="start")
    for layer, (state,) in enumerate(carry.moving["states"]):
        assert state.shape == (3, 2, 8)
        np.testing.assert_array_equal(state[:, 0], state[:, 1])
        if bridge == "last":
            np.testing.assert_array_equal(state[:, 0], memory.last[layer][0])
        if bridge == "zeros":
            assert not np.any(state)
        if bridge == "projection":
            dense = variables["params"]["decoder"][f"initial_{layer}"]
            expected = np.tanh(memory.summary @ dense["kernel"] + dense["bias"])
            np.testing.assert_allclose(state[:, 0], expected, rtol=1e-5, atol=1e-6)
