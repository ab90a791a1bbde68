"""Equality with torch by goldens that tests/goldens/torch/recurrent.py wrote."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqjax.layers.recurrent import CELLS, RecurrentLayer

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "torch" / "recurrent.npz")
LENGTHS = GOLDENS["lengths"]
HIDDEN = 5


def golden(cell, suffix=""):
    """Returns what torch has of a cell, its names ending in `suffix`, without it."""
    start = f"{cell}/"
    return {
        key[len(start) : len(key) - len(suffix)]: GOLDENS[key]
        for key in GOLDENS
        if key.startswith(start) and key.endswith(suffix)
    }


def parameters(cell, weights, direction):
    """Turns torch's weights of a direction, or their gradients, into ours."""
    end = "_l0_reverse" if direction else "_l0"
    bias, own = weights[f"bias_ih{end}"], weights[f"bias_hh{end}"]
    params = {"recurrent": weights[f"weight_hh{end}"].T}
    if cell == "gru":
        params["recurrent_bias"] = own[-HIDDEN:]
        own = np.concatenate([own[:-HIDDEN], np.zeros(HIDDEN, np.float32)])
    params["inputs"] = {"kernel": weights[f"weight_ih{end}"].T, "bias": bias + own}
    return params


def wave(*shape, seed):
    return 0.7 * np.sin((np.arange(np.prod(shape)) + 100 * seed) ** 1.3).reshape(shape)


def step(layer, x, state):
    return layer.advance(layer.project(x), state)


def mask_of(time):
    return np.arange(time) < LENGTHS[:, None]


@pytest.mark.parametrize("direction", [0, 1])
@pytest.mark.parametrize("cell", CELLS)
def test_equals_torch_forward_and_backward(cell, direction):
    arrays = golden(cell)
    layer = RecurrentLayer(HIDDEN, cell, reverse=bool(direction))
    count = CELLS[cell].states
    start = tuple(jnp.asarray(arrays[f"start{i}"][direction]) for i in range(count))
    x = jnp.asarray(arrays["x"])
    mask = mask_of(x.shape[1])
    side = slice(direction * HIDDEN, (direction + 1) * HIDDEN)

    def loss(params, x, start):
        outputs, last = layer.apply({"params": params}, x, mask, start)
        total = jnp.sum(outputs * wave(3, 6, 2 * HIDDEN, seed=5)[..., side])
        for i, state in enumerate(last):
            total += jnp.sum(state * wave(2, 3, HIDDEN, seed=6 + i)[direction])
        return total, (outputs, last)

    params = jax.tree.map(jnp.asarray, parameters(cell, arrays, direction))
    derivative = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
    (_, (outputs, last)), gradients = derivative(params, x, start)
    np.testing.assert_allclose(outputs, arrays["output"][..., side], rtol=1e-5, atol=1e-5)
    for i in range(count):
        np.testing.assert_allclose(last[i], arrays[f"last{i}"][direction], rtol=1e-5, atol=1e-5)
        expected = arrays[f"start{i}_gradient"][direction]
        np.testing.assert_allclose(gradients[2][i], expected, rtol=1e-5, atol=1e-5)

    expected = golden(cell, "_gradient")
    # Each of torch's two biases has the gradient of their sum.
    zero = {key: np.zeros_like(value) for key, value in expected.items() if "bias_hh" in key}
    expected = parameters(cell, expected | zero, direction)
    if cell == "gru":
        end = "_l0_reverse" if direction else "_l0"
        expected["recurrent_bias"] = arrays[f"bias_hh{end}_gradient"][-HIDDEN:]
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5),
        gradients[0],
        expected,
    )


@pytest.mark.parametrize("cell", CELLS)
def test_both_directions_together_have_torchs_gradient_of_the_inputs(cell):
    arrays = golden(cell)
    count = CELLS[cell].states
    mask = mask_of(6)

    def loss(x):
        total = 0.0
        for direction in range(2):
            layer = RecurrentLayer(HIDDEN, cell, reverse=bool(direction))
            start = tuple(jnp.asarray(arrays[f"start{i}"][direction]) for i in range(count))
            params = parameters(cell, arrays, direction)
            outputs, last = layer.apply({"params": params}, x, mask, start)
            side = slice(direction * HIDDEN, (direction + 1) * HIDDEN)
            total += jnp.sum(outputs * wave(3, 6, 2 * HIDDEN, seed=5)[..., side])
            for i, state in enumerate(last):
                total += jnp.sum(state * wave(2, 3, HIDDEN, seed=6 + i)[direction])
        return total

    gradient = jax.jit(jax.grad(loss))(jnp.asarray(arrays["x"]))
    np.testing.assert_allclose(gradient, arrays["x_gradient"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_steps_walk_the_same_way_as_the_whole(cell, normalize, filled):
    layer = RecurrentLayer(HIDDEN, cell, normalize=normalize)
    x = wave(3, 6, 4, seed=1).astype(np.float32)
    everything = np.ones((3, 6), bool)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x, everything)
    variables = {"params": filled(shapes["params"])}
    outputs, last = jax.jit(layer.apply)(variables, x, everything)
    state = layer.start(3)
    advance = jax.jit(lambda x, state: layer.apply(variables, x, state, method=step))
    for time in range(6):
        state = advance(x[:, time], state)
        np.testing.assert_allclose(state[0], outputs[:, time], rtol=1e-5, atol=1e-6)
    for ours, theirs in zip(state, last, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_padding_changes_nothing_and_gets_nothing(cell, reverse, filled):
    layer = RecurrentLayer(HIDDEN, cell, reverse=reverse, normalize=True)
    x = jnp.asarray(wave(3, 6, 4, seed=1), jnp.float32)
    mask = mask_of(6)
    params = filled(jax.eval_shape(layer.init, jax.random.key(0), x, mask)["params"])

    def total(x):
        outputs, last = layer.apply({"params": params}, x, mask)
        return sum(jnp.sum(jnp.sin(leaf)) for leaf in (outputs, *last)), (outputs, last)

    gradient, (outputs, last) = jax.jit(jax.grad(total, has_aux=True))(x)
    read = jax.jit(layer.apply)
    assert not np.any(np.asarray(outputs)[~mask])
    assert not np.any(np.asarray(gradient)[~mask])
    assert np.all(np.any(np.asarray(gradient)[mask], axis=-1))
    for row, length in enumerate(LENGTHS):
        alone, final = read(
            {"params": params}, x[row : row + 1, :length], np.ones((1, length), bool)
        )
        np.testing.assert_allclose(outputs[row, :length], alone[0], rtol=1e-5, atol=1e-6)
        for ours, theirs in zip(last, final, strict=True):
            np.testing.assert_allclose(ours[row], theirs[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_the_derivative_of_the_whole_is_that_of_the_steps(cell, normalize, filled):
    """The recurrence has a derivative of its own; the steps have JAX's."""
    layer = RecurrentLayer(HIDDEN, cell, normalize=normalize)
    x = jnp.asarray(wave(3, 6, 4, seed=1), jnp.float32)
    everything = np.ones((3, 6), bool)
    params = filled(jax.eval_shape(layer.init, jax.random.key(0), x, everything)["params"])
    weights = wave(3, 6, HIDDEN, seed=5)

    def whole(params, x):
        outputs, last = layer.apply({"params": params}, x, everything)
        return jnp.sum(outputs * weights) + jnp.sum(last[-1])

    def steps(params, x):
        state, total = layer.start(3), 0.0
        for time in range(6):
            state = layer.apply({"params": params}, x[:, time], state, method=step)
            total += jnp.sum(state[0] * weights[:, time])
        return total + jnp.sum(state[-1])

    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5),
        *(jax.jit(jax.grad(loss, argnums=(0, 1)))(params, x) for loss in (whole, steps)),
    )


def test_a_cell_counts_on_in_bfloat16():
    """Gates that are open add tanh(1) sigmoid(-3) = 0.0361 at each of 400 positions."""
    layer = RecurrentLayer(1, "lstm", dtype=jnp.bfloat16)
    variables = {
        "params": {
            "inputs": {"kernel": jnp.zeros((1, 4)), "bias": jnp.float32([-3, 20, 1, 0])},
            "recurrent": jnp.zeros((1, 4)),
        }
    }
    inputs, mask = jnp.zeros((1, 400, 1)), jnp.ones((1, 400), bool)
    outputs, (_, cell) = layer.apply(variables, inputs, mask)
    assert (outputs.dtype, cell.dtype) == (jnp.bfloat16, jnp.float32)
    assert float(cell[0, 0]) == pytest.approx(400 * 0.0361, rel=0.01)


@pytest.mark.parametrize("cell, biases", [("lstm", [-6, 6, 1, 0]), ("gru", [0, 6, 1])])
def test_a_cell_remembers_on_in_bfloat16(cell, biases):
    """A gate that keeps sigmoid(6) of what there is: 1 - sigmoid(6)^T of tanh(1) after T."""
    layer = RecurrentLayer(1, cell, dtype=jnp.bfloat16)
    kernel = jnp.zeros((1, len(biases)))
    params = {"inputs": {"kernel": kernel, "bias": jnp.float32(biases)}, "recurrent": kernel}
    if cell == "gru":
        params["recurrent_bias"] = jnp.zeros(1)
    inputs, mask = jnp.zeros((1, 400, 1)), jnp.ones((1, 400), bool)

    def remembered(params):
        outputs, last = layer.apply({"params": params}, inputs, mask)
        assert outputs.dtype == jnp.bfloat16 and all(x.dtype == jnp.float32 for x in last)
        return last[-1][0, 0]

    found, gradient = jax.value_and_grad(remembered)(params)
    kept = 1 / (1 + np.exp(-6))
    assert float(found) == pytest.approx(np.tanh(1) * (1 - kept**400), rel=0.01)
    # That of the candidate's bias, which tanh alone stands before.
    expected = (1 - np.tanh(1) ** 2) * (1 - kept**400)
    assert float(gradient["inputs"]["bias"][2]) == pytest.approx(expected, rel=0.02)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def layer_norm(x, scale):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale


def layer_norm_apart(x, scale):
    """Of a GRU: its two gates together, its candidate by itself."""
    parts = zip(np.split(x, [2 * HIDDEN], axis=-1), np.split(scale, [2 * HIDDEN]), strict=True)
    return np.concatenate([layer_norm(*part) for part in parts], axis=-1)


def normalized_elman(x, h, state, params):
    x, h = layer_norm(x, params["input_scale"]), layer_norm(h, params["recurrent_scale"])
    return (np.tanh(x + h + params["inputs"]["bias"]),)


def normalized_lstm(x, h, state, params):
    x, h = layer_norm(x, params["input_scale"]), layer_norm(h, params["recurrent_scale"])
    i, f, g, o = np.split(x + h + params["inputs"]["bias"], 4, axis=-1)
    c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def normalized_gru(x, h, state, params):
    x = layer_norm_apart(x, params["input_scale"]) + params["inputs"]["bias"]
    h = layer_norm_apart(h, params["recurrent_scale"])
    (x_r, x_z, x_n), (h_r, h_z, h_n) = (np.split(part, 3, axis=-1) for part in (x, h))
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    return ((1 - z) * np.tanh(x_n + r * (h_n + params["recurrent_bias"])) + z * state[0],)


@pytest.mark.parametrize(
    "cell, equations",
    [("elman", normalized_elman), ("lstm", normalized_lstm), ("gru", normalized_gru)],
)
def test_normalized_cells_are_as_they_are_written(cell, equations, filled):
    """Against the equations in NumPy (Ba et al., 2016; the GRU's are in their supplement)."""
    layer = RecurrentLayer(HIDDEN, cell, normalize=True)
    x = wave(3, 4, seed=1).astype(np.float32)
    state = tuple(wave(3, HIDDEN, seed=i).astype(np.float32) for i in range(CELLS[cell].states))
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x[:, None], np.ones((3, 1), bool))
    params = jax.tree.map(np.asarray, filled(shapes["params"]))
    found = layer.apply({"params": params}, x, state, method=step)
    products = x @ params["inputs"]["kernel"], state[0] @ params["recurrent"]
    for ours, theirs in zip(found, equations(*products, state, params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_only_the_forget_gates_of_an_lstm_start_with_a_bias(cell, normalize):
    x, mask = np.zeros((1, 2, 4), np.float32), np.ones((1, 2), bool)

    def start(**fields):
        layer = RecurrentLayer(HIDDEN, cell, normalize=normalize, **fields)
        return layer.init(jax.random.key(0), x, mask)["params"]

    params, other = start(), start(forget_bias=-2.0)
    gates = {"elman": [0.0], "lstm": [0.0, 1.0, 0.0, 0.0], "gru": [0.0, 0.0, 0.0]}[cell]
    np.testing.assert_array_equal(params["inputs"].pop("bias"), np.repeat(gates, HIDDEN))
    gates = [-2.0 * gate for gate in gates]
    np.testing.assert_array_equal(other["inputs"].pop("bias"), np.repeat(gates, HIDDEN))
    # Whatever it is, all other parameters start where they start.
    jax.tree.map(np.testing.assert_array_equal, params, other)


def test_the_block_that_starts_at_one_is_what_a_cell_keeps():
    """Without inputs and outputs c = sigmoid(b_f) c', (c' = 1): 0.7311 at b_f = 1."""
    layer = RecurrentLayer(HIDDEN, "lstm")
    x, mask = np.zeros((1, 3, 4), np.float32), np.ones((1, 3), bool)
    state = (jnp.zeros((1, HIDDEN)), jnp.ones((1, HIDDEN)))
    params = layer.init(jax.random.key(0), x, mask)["params"]
    params["recurrent"] *= 0
    _, (_, cell) = layer.apply({"params": params}, x, mask, state)
    np.testing.assert_allclose(cell, np.full((1, HIDDEN), 0.731059**3), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("forget_bias, least, most", [(0.0, 0.0, 0.2), (1.0, 0.8, 1.0)])
def test_a_forget_bias_lets_an_lstm_recall_the_first_of_40_tokens(forget_bias, least, most):
    """Of 8 kinds, with Adam at 0.01: after 300 updates at chance, or nearly always right."""
    size, rows, time, kinds, updates = 32, 64, 40, 8, 300
    layer, optimizer = RecurrentLayer(size, "lstm", forget_bias=forget_bias), optax.adam(0.01)
    mask = jnp.ones((rows, time), bool)
    first, second, third = jax.random.split(jax.random.key(0), 3)
    params = {
        "lstm": layer.init(first, jnp.zeros((rows, time, kinds)), mask)["params"],
        "output": jax.random.normal(second, (size, kinds)) * size**-0.5,
    }

    def loss(params, tokens):
        inputs = jax.nn.one_hot(tokens, kinds)
        _, (hidden, _) = layer.apply({"params": params["lstm"]}, inputs, mask)
        logits, wanted = hidden @ params["output"], tokens[:, 0]
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, wanted)
        return losses.mean(), (logits.argmax(-1) == wanted).mean()

    # 24,000 steps of a recurrence take much longer than to compile them well.
    @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 2})
    def train(params):
        def update(carry, key):
            params, state = carry
            tokens = jax.random.randint(key, (rows, time), 0, kinds)
            gradients, right = jax.grad(loss, has_aux=True)(params, tokens)
            changes, state = optimizer.update(gradients, state)
            return (optax.apply_updates(params, changes), state), right

        start = params, optimizer.init(params)
        return jax.lax.scan(update, start, jax.random.split(third, updates))[1]

    right = np.asarray(train(params))[-50:].mean()
    assert least <= right <= most


def test_each_gate_starts_with_an_orthogonal_matrix():
    layer = RecurrentLayer(HIDDEN, "gru")
    params = layer.init(jax.random.key(0), np.zeros((1, 2, 4)), np.ones((1, 2), bool))["params"]
    for gate in np.split(np.asarray(params["recurrent"]), 3, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(HIDDEN), atol=1e-5)


@pytest.mark.parametrize("cell", CELLS)
def test_a_recurrent_matrix_with_dropped_entries_serves_all_rows_and_positions(cell, filled):
    x = np.sin(np.arange(3 * 5 * 4) ** 1.3).reshape(3, 5, 4).astype(np.float32)
    mask = np.arange(5) < np.array([5, 3, 4])[:, None]
    layer = RecurrentLayer(8, cell, dropout=0.4)
    params = filled(jax.eval_shape(layer.init, jax.random.key(0), x, mask)["params"])
    rngs = {"dropout": jax.random.key(3)}
    dropped = layer.apply({"params": params}, False, method="dropped", rngs=rngs)
    kept = np.asarray(dropped != 0)
    assert abs(kept.mean() - 0.6) < 0.15
    np.testing.assert_allclose(dropped[kept], params["recurrent"][kept] / 0.6, rtol=1e-6)

    def run(params, *deterministic, rngs=None):
        outputs, state = layer.apply({"params": params}, x, mask, None, *deterministic, rngs=rngs)
        return jnp.sum(jnp.sin(outputs) * x.sum()), (outputs, state)

    expected = run(params | {"recurrent": dropped})[1]
    gradients, found = jax.grad(run, has_aux=True)(params, False, rngs=rngs)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)
    np.testing.assert_array_equal(gradients["recurrent"] != 0, kept)
