import jax
import numpy as np
import pytest

from seqjax.layers.multi_head_attention import causal_mask
from seqjax.layers.transformer import (
    Residual,
    TransformerDecoderLayer,
    TransformerEncoderLayer,
)

SIZES = {"width": 8, "heads": 2, "feed_forward": 12, "activation": "gelu"}
LENGTHS = np.array([5, 2])
NORMALIZATIONS = ("pre", "post")


def residual(reference, normalization, params, x, sublayer):
    if normalization == "pre":
        return x + sublayer(reference.norm(params["norm"], x))
    return reference.norm(params["norm"], x + sublayer(x))


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_normalizes_before_or_after_the_sum(normalization, filled, reference, wave):
    x = 3 + wave(2, 3, 8).astype(np.float32)
    layer = Residual(normalization, dropout=0.0)
    shapes = jax.eval_shape(lambda k: layer.init(k, x, jax.numpy.sin, True), jax.random.key(0))
    params = filled(shapes["params"])
    expected = residual(reference, normalization, params, x, np.sin)
    output = layer.apply({"params": params}, x, jax.numpy.sin, True)
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)


def test_dropout_acts_on_the_sublayer_and_not_on_the_residual():
    x = np.tile(np.float32([1, -1]), (50, 4))
    layer = Residual("pre", dropout=0.5)
    params = {"norm": {"scale": np.ones(8), "bias": np.zeros(8)}}
    output = layer.apply(
        {"params": params}, x, lambda y: 10 * y, False, rngs={"dropout": jax.random.key(0)}
    )
    moved = np.unique(np.round(np.asarray(output) / x))
    assert moved.tolist() == [1, 21]


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_encoder_layer_equals_plain_numpy(normalization, filled, reference, wave):
    x = wave(2, 5, 8).astype(np.float32)
    mask = np.arange(5) < LENGTHS[:, None]
    layer = TransformerEncoderLayer(**SIZES, normalization=normalization)
    inputs = (x, mask[:, None, None])
    params = filled(jax.eval_shape(layer.init, jax.random.key(0), *inputs)["params"])
    output = layer.apply({"params": params}, *inputs)
    for row in range(2):
        visible = np.broadcast_to(mask[row], (5, 5))

        def attend(y, visible=visible):
            return reference.attention(params["attention"], y, y, visible, 2)

        y = residual(reference, normalization, params["attention_residual"], x[row], attend)
        y = residual(
            reference,
            normalization,
            params["inner_residual"],
            y,
            lambda y: reference.feed_forward(params["inner"], y, "gelu"),
        )
        np.testing.assert_allclose(output[row], y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_decoder_layer_equals_plain_numpy(normalization, filled, reference, wave):
    x = wave(2, 4, 8).astype(np.float32)
    memory = wave(2, 5, 6, seed=1).astype(np.float32)
    memory_mask = np.arange(5) < LENGTHS[:, None]
    layer = TransformerDecoderLayer(**SIZES, normalization=normalization)
    inputs = (x, (memory, memory), causal_mask(4), memory_mask[:, None, None])
    params = filled(jax.eval_shape(layer.init, jax.random.key(0), *inputs)["params"])
    output = layer.apply({"params": params}, *inputs)
    for row in range(2):
        visible = np.broadcast_to(memory_mask[row], (4, 5))
        y = x[row]
        for name, sublayer in (
            ("attention", lambda y: reference.attention(params["attention"], y, y, np.tri(4), 2)),
            (
                "cross",
                lambda y, row=row, visible=visible: reference.attention(
                    params["cross"], y, memory[row], visible, 2
                ),
            ),
            ("inner", lambda y: reference.feed_forward(params["inner"], y, "gelu")),
        ):
            y = residual(reference, normalization, params[f"{name}_residual"], y, sublayer)
        np.testing.assert_allclose(output[row], y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_decoder_layer_without_a_memory_is_a_causal_encoder_layer(normalization, filled, wave):
    x = wave(2, 4, 8).astype(np.float32)
    nothing = (np.zeros((2, 0, 0)), np.zeros((2, 0, 0)))
    layer = TransformerDecoderLayer(**SIZES, normalization=normalization, reads_memory=False)
    inputs = (x, nothing, causal_mask(4), np.zeros((2, 1, 1, 0), bool))
    params = filled(jax.eval_shape(layer.init, jax.random.key(0), *inputs)["params"])
    encoder = TransformerEncoderLayer(**SIZES, normalization=normalization)
    expected = encoder.apply({"params": params}, x, causal_mask(4))
    np.testing.assert_array_equal(layer.apply({"params": params}, *inputs), expected)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_encoder_layer_equals_torch_forward_and_backward(normalization, torch_layers):
    layer = TransformerEncoderLayer(8, 2, 12, normalization=normalization)
    mask = np.arange(5) < torch_layers.lengths[:, None, None, None]

    def forward(params, source):
        return layer.apply({"params": params}, source, mask)

    torch_layers.check(f"encoder_{normalization}", torch_layers.layer, ("source",), forward)


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_decoder_layer_equals_torch_forward_and_backward(normalization, torch_layers):
    layer = TransformerDecoderLayer(8, 2, 12, normalization=normalization)
    mask = np.arange(5) < torch_layers.lengths[:, None, None, None]

    def forward(params, target, memory):
        inputs = (target, (memory, memory), causal_mask(4), mask)
        return layer.apply({"params": params}, *inputs)

    inputs = ("target", "memory")
    torch_layers.check(f"decoder_{normalization}", torch_layers.layer, inputs, forward)
