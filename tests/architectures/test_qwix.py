"""Low-rank adaptation and int8 by qwix, which intercepts products and looks for parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import qwix

from seqjax.architectures.encoder_decoder import build
from seqjax.config import default_config

VOCABULARY, STEPS = 13, 10
SOURCE = np.array([[5, 9, 4, 7, 2], [8, 2, 0, 0, 0], [6, 6, 10, 2, 0]], np.int32)
TARGET = np.array([[1, 4, 12, 5], [1, 9, 9, 4], [1, 5, 4, 8]], np.int32)
FAMILIES = {
    "transformer": {"positions": "rotary", "key_value_heads": 1, "activation": "swiglu"}
    | {"layers": 2, "scan_layers": True, "rematerialize": True},
    "lstm": {"attention": "location", "attention_order": "attend_first", "readout": "deep"}
    | {"cell_normalization": True},
    "gru": {"attention": "multi_head", "input_feeding": True},
    "elman": {"attention": "general", "bridge": "zeros"},
    "convolutional": {"attention": "additive"},
}
families = pytest.mark.parametrize(
    "kind", [pytest.param(x, marks=() if x == "lstm" else pytest.mark.slow) for x in FAMILIES]
)


@pytest.fixture(scope="module")
def models(filled):
    """Returns a function from a family to a model and its parameters."""

    @functools.cache
    def make(kind):
        config = default_config().model
        config.share_embeddings, config.tie_output = False, False
        for stack in (config.encoder, config.decoder):
            stack.update(kind=kind, layers=1, width=8, heads=2, feed_forward=12, dropout=0.0)
            stack.update({key: value for key, value in FAMILIES[kind].items() if key in stack})
        model = build(config, VOCABULARY, VOCABULARY)
        shapes = jax.eval_shape(model.init, jax.random.key(0), SOURCE, TARGET)["params"]
        return model, filled(shapes)

    return make


def paths(tree, chosen):
    """Returns the paths of the chosen leaves of a tree."""
    name = functools.partial(jax.tree_util.keystr, simple=True, separator="/")
    return {
        name(path) for path, leaf in jax.tree.leaves_with_path(tree) if chosen(name(path), leaf)
    }


def matrices(params):
    """Returns the paths of all matrices that something is multiplied with."""
    return paths(params, lambda path, leaf: leaf.ndim == 2 and not path.endswith("/table"))


@families
def test_low_rank_adaptation_finds_every_matrix_and_learns(kind, models):
    model, base = models(kind)
    adapted = qwix.apply_lora_to_model(
        model, qwix.LoraProvider(module_path=".*", rank=2, alpha=4.0)
    )
    shapes = jax.eval_shape(adapted.init, jax.random.key(0), SOURCE, TARGET)["params"]
    found = paths(shapes, lambda path, leaf: path.endswith("_lora_a"))
    assert {path.removesuffix("_lora_a") for path in found} == matrices(base)

    flat = {path: leaf for path, leaf in jax.tree_util.tree_leaves_with_path(base)}

    def start(path, shape):
        if path in flat:
            return flat[path]
        size = np.arange(np.prod(shape.shape)).reshape(shape.shape)
        return jnp.float32(np.sin(size**1.3) if str(path[-1].key).endswith("_a") else 0 * size)

    params = jax.tree_util.tree_map_with_path(start, shapes)

    def loss(params):
        logits = adapted.apply({"params": params}, SOURCE, TARGET[:, :-1])
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, TARGET[:, 1:])
        return losses.mean(), logits

    frozen = jax.tree_util.tree_map_with_path(lambda path, _: path in flat, params)
    optimizer = optax.chain(optax.masked(optax.set_to_zero(), frozen), optax.adam(0.01))

    @jax.jit
    def update(params, state):
        (value, logits), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state)
        return optax.apply_updates(params, updates), state, value, logits

    state, values = optimizer.init(params), []
    for step in range(STEPS):
        params, state, value, logits = update(params, state)
        values.append(float(value))
        if step == 0:
            # The second factor begins at zero.
            expected = jax.jit(model.apply)({"params": base}, SOURCE, TARGET[:, :-1])
            np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)
    assert values[-1] < 0.95 * values[0]
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if path in flat:
            np.testing.assert_array_equal(leaf, flat[path])
        elif str(path[-1].key).endswith("_lora_b"):
            assert np.abs(leaf).max() > 0, path


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(x, marks=[pytest.mark.slow] + [pytest.mark.thorough] * (x in ("elman", "gru")))
        for x in FAMILIES
    ],
)
def test_int8_finds_every_matrix(kind, models):
    model, params = models(kind)
    rule = qwix.QuantizationRule(module_path=".*", weight_qtype=jnp.int8)
    after = qwix.quantize_model(model, qwix.PtqProvider([rule]))
    shapes = jax.eval_shape(after.init, jax.random.key(0), SOURCE, TARGET)["params"]
    quantized = qwix.quantize_params(params, shapes)
    # The integers and their scales.
    found = paths(quantized, lambda path, leaf: path.endswith("qvalue"))
    assert {path.split("/array")[0] for path in found} == matrices(params)
    exact = jax.jit(model.apply)({"params": params}, SOURCE, TARGET)
    near = {"rtol": 0, "atol": 0.03 * float(jnp.abs(exact).max())}
    np.testing.assert_allclose(
        jax.jit(after.apply)({"params": quantized}, SOURCE, TARGET), exact, **near
    )
    # Trained as it will be quantized.
    aware = qwix.quantize_model(model, qwix.QtProvider([rule]))
    logits = jax.jit(aware.apply)({"params": params}, SOURCE, TARGET)
    np.testing.assert_allclose(logits, exact, **near)
    assert np.abs(logits - exact).max() > 0
