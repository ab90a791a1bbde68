"""Recurrent stacks: equality with torch's, and what their options do."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.architectures.encoder_decoder import build
from seqjax.architectures.recurrent import IMPLEMENTATIONS, RecurrentEncoder
from seqjax.config import default_config
from seqjax.layers.recurrent import CELLS, RecurrentLayer

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "torch" / "recurrent.npz")
STACKS = sorted({key.rpartition("/")[0] for key in GOLDENS if key.startswith("stack/")})
INPUTS, HIDDEN, TIME = 4, 5, 6
SOURCE = np.array([[5, 9, 4, 7, 2], [8, 2, 0, 0, 0], [6, 6, 10, 2, 0]], np.int32)
TARGET = np.array([[1, 4, 12, 5], [1, 9, 9, 4], [1, 5, 4, 8]], np.int32)


def wave(*shape, seed):
    """Returns the numbers that the loss of the goldens weighs its terms with."""
    return 0.7 * np.sin((np.arange(np.prod(shape)) + 100 * seed) ** 1.3).reshape(shape)


def golden(stack):
    """Returns its cell, layers and sides, and what torch has of it."""
    _, cell, layers, direction = stack.split("/")
    arrays = {
        key.removeprefix(f"{stack}/"): GOLDENS[key]
        for key in GOLDENS
        if key.startswith(f"{stack}/")
    }
    return cell, int(layers), ("ahead", "back") if direction == "both" else ("ahead",), arrays


def split(vector, cell, layers, sides, gradient=False):
    """Returns parameters of `RecurrentEncoder` from all of torch's weights or their gradients.

    Torch's two biases are one here, and either has the gradient of their sum.
    """
    params, width = {}, CELLS[cell].gates * HIDDEN

    def take(*shape):
        nonlocal vector
        taken, vector = np.split(vector, [np.prod(shape)])
        return taken.reshape(shape)

    for i in range(layers):
        for side in sides:
            kernel = take(width, len(sides) * HIDDEN if i else INPUTS).T
            recurrent, bias, own = take(width, HIDDEN).T, take(width), take(width)
            layer = {"recurrent": recurrent}
            if cell == "gru":
                layer["recurrent_bias"] = own[-HIDDEN:]
                own = np.append(own[:-HIDDEN], np.zeros_like(own[-HIDDEN:]))
            layer["inputs"] = {"kernel": kernel, "bias": bias if gradient else bias + own}
            params[f"{side}_{i}"] = layer
    assert not vector.size
    return params


@pytest.mark.parametrize("stack", STACKS)
def test_a_stack_equals_torch_with_padded_lengths(stack):
    cell, layers, sides, arrays = golden(stack)
    direction = "both" if len(sides) == 2 else "forward"
    encoder = RecurrentEncoder(kind=cell, layers=layers, width=HIDDEN, direction=direction)
    params = split(arrays["weights"], cell, layers, sides)
    x = jnp.asarray(GOLDENS[f"{cell}/x"])
    mask = np.arange(TIME) < GOLDENS["lengths"][:, None]
    memory = jax.jit(encoder.apply)({"params": params}, x, mask)
    np.testing.assert_allclose(memory.states, arrays["zeros_output"], rtol=1e-5, atol=1e-5)
    for layer, states in enumerate(memory.last):
        assert len(states) == CELLS[cell].states
        for i, state in enumerate(states):
            of_sides = arrays[f"zeros_last{i}"].reshape(layers, len(sides), 3, HIDDEN)[layer]
            expected = np.concatenate(list(of_sides), axis=-1)
            np.testing.assert_allclose(state, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("stack", STACKS)
def test_layers_on_layers_from_given_states_equal_torch_forward_and_backward(stack):
    cell, layers, sides, arrays = golden(stack)
    names = range(CELLS[cell].states)
    mask = np.arange(TIME) < GOLDENS["lengths"][:, None]

    def loss(params, x, starts):
        last = []
        for i in range(layers):
            outputs = []
            for j, side in enumerate(sides):
                layer = RecurrentLayer(HIDDEN, cell, reverse=side == "back")
                start = tuple(start[i * len(sides) + j] for start in starts)
                variables = {"params": params[f"{side}_{i}"]}
                output, state = layer.apply(variables, x, mask, start)
                outputs.append(output)
                last.append(state)
            x = jnp.concatenate(outputs, axis=-1)
        last = [jnp.stack(states) for states in zip(*last, strict=True)]
        total = jnp.sum(x * wave(*x.shape, seed=5))
        for i, state in enumerate(last):
            total += jnp.sum(state * wave(*state.shape, seed=6 + i))
        return total, (x, last)

    params = split(arrays["weights"], cell, layers, sides)
    starts = [arrays[f"start{i}"] for i in names]
    derive = jax.jit(jax.grad(loss, argnums=(0, 1, 2), has_aux=True))
    gradients, (output, last) = derive(params, jnp.asarray(GOLDENS[f"{cell}/x"]), starts)
    np.testing.assert_allclose(output, arrays["output"], rtol=1e-5, atol=1e-5)
    for i in names:
        np.testing.assert_allclose(last[i], arrays[f"last{i}"], rtol=1e-5, atol=1e-5)
    expected = (
        split(arrays["weights_gradient"], cell, layers, sides, gradient=True),
        arrays["x_gradient"],
        [arrays[f"start{i}_gradient"] for i in names],
    )
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6),
        gradients,
        expected,
    )


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
    still = jax.jit(model.apply)(variables, source, TARGET)
    shake = jax.jit(lambda v: model.apply(v, source, TARGET, False, rngs={"dropout": key}))
    shaken, again = shake(variables), shake(variables)
    np.testing.assert_array_equal(shaken, again)
    assert np.abs(np.asarray(shaken - still)).max() > 0.05


@pytest.mark.parametrize(
    "changes",
    [
        {"attention_order": "attend_first", "readout": "state"},
        {"attention_order": "update_first", "input_feeding": True},
        {"attention_order": "update_first"},
    ],
    ids=["attend_first", "input_feeding", "layer_by_layer"],
)
@pytest.mark.parametrize("variational", [False, True])
def test_a_decoder_drops_the_same_at_all_positions_only_if_variational(
    changes, variational, filled
):
    model, variables = make(
        filled, kind="elman", dropout=0.5, variational=variational, attention="additive", **changes
    )
    # The first layer says the same at every position, and no layer knows of another position.
    decoder = variables["params"]["decoder"]
    decoder["stack_0"]["inputs"]["kernel"] *= 0
    decoder["stack_0"]["inputs"]["bias"] += 1
    for weights in (decoder["stack_0"], decoder["stack_1"]):
        weights["recurrent"] *= 0
    if "feedback" in decoder:
        decoder["feedback"]["kernel"] *= 0
    still = np.asarray(jax.jit(model.apply)(variables, SOURCE, TARGET))
    np.testing.assert_allclose(still, np.repeat(still[:, :1], TARGET.shape[1], 1), atol=1e-5)
    rngs = {"dropout": jax.random.key(1)}
    shake = jax.jit(lambda v: model.apply(v, SOURCE, TARGET, False, rngs=rngs))
    shaken = np.asarray(shake(variables))
    assert np.abs(shaken - still).max() > 0.05
    # Every sentence has a mask of its own.
    assert np.abs(shaken[0] - shaken[1]).max() > 0.05
    for t in range(TARGET.shape[1]):
        for other in range(t):
            found = np.abs(shaken[:, t] - shaken[:, other]).max()
            assert (found < 1e-5) if variational else (found > 0.05)


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


@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize("kind", CELLS)
def test_each_stack_starts_with_its_own_forget_bias(kind, normalized):
    """In every layer and direction; the cells of other kinds have none."""
    config = default_config().model
    for stack in (config.encoder, config.decoder):
        stack.update(kind=kind, layers=2, width=8, cell_normalization=normalized)
    config.decoder.update(attention="additive", attention_order="attend_first", forget_bias=0.5)
    model = build(config, 13, 13)
    source, target = np.ones((1, 1), np.int32), np.zeros((1, 0), np.int32)

    # No matrix is drawn.
    @jax.jit
    def biases(key):
        params = model.init(key, source, target)["params"]
        return {
            name: [
                layer["inputs"]["bias"]
                for part, layer in params[name].items()
                if part.startswith(("ahead", "back", "stack"))
            ]
            for name in ("encoder", "decoder")
        }

    found = biases(jax.random.key(0))
    for name, layers, forget in (("encoder", 4, 1.0), ("decoder", 2, 0.5)):
        assert len(found[name]) == layers
        for bias in found[name]:
            gates = np.asarray(bias).reshape(-1, 8)
            expected = np.zeros_like(gates)
            if kind == "lstm":
                expected[1] = forget
            np.testing.assert_array_equal(gates, expected)


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


def test_a_model_by_cudnn_equals_that_by_the_scan(filled, lstm_operation, monkeypatch):
    computed = []

    def operation(*arguments):
        computed.append(arguments[0].shape)
        return lstm_operation(*arguments)

    by_operation = functools.partial(IMPLEMENTATIONS["cudnn"], operation=operation)
    monkeypatch.setitem(IMPLEMENTATIONS, "cudnn", by_operation)
    # A row that fills a batch has no word.
    source = np.concatenate([SOURCE, np.zeros((1, 5), np.int32)])
    target = np.concatenate([TARGET, np.zeros((1, 4), np.int32)])

    def run(implementation):
        model, variables = make(
            filled, kind="lstm", layers=1, attention="additive", implementation=implementation
        )
        computed.clear()

        def loss(variables):
            logits = model.apply(variables, source, target)
            return jnp.sum(logits * wave(*logits.shape, seed=1)), logits

        with jax.default_matmul_precision("highest"):
            return jax.jit(jax.grad(loss, has_aux=True))(variables), list(computed)

    found, by_cudnn = run("cudnn")
    expected, by_scan = run("scan")
    # The encoder in both directions, and the decoder.
    assert (by_cudnn, by_scan) == ([(4, 5, 8), (4, 5, 8), (4, 4, 8)], [])
    jax.tree.map(
        lambda ours, scans: np.testing.assert_allclose(ours, scans, rtol=1e-4, atol=1e-5),
        found,
        expected,
    )


@pytest.mark.parametrize("order", ["update_first", "attend_first"])
def test_entries_of_recurrent_matrices_are_dropped_for_whole_sentences(order, filled):
    model, variables = make(
        filled, recurrent_dropout=0.4, attention="additive", attention_order=order
    )
    key = jax.random.key(1)

    @jax.jit
    @jax.grad
    def derive(params):
        logits = model.apply({"params": params}, SOURCE, TARGET, False, rngs={"dropout": key})
        return jnp.sum(jnp.sin(logits))

    gradients = derive(variables["params"])
    leaves = jax.tree.leaves_with_path(gradients)
    matrices = [leaf for path, leaf in leaves if path[-1].key == "recurrent"]
    assert len(matrices) == 6  # Two layers in either direction, and two of the decoder.
    for matrix in matrices:
        # With a mask for each position, hardly any entry would have no gradient.
        assert abs(np.mean(matrix != 0) - 0.6) < 0.15
