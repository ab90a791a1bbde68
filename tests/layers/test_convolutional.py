"""Equality with torch by goldens that tests/goldens/torch/convolutional.py wrote."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.layers.attention import SOURCE_ATTENTION
from seqjax.layers.convolutional import (
    ConvolutionalDecoderLayer,
    ConvolutionalEncoderLayer,
    GatedConvolution,
    dilations,
)

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "torch" / "convolutional.npz")
MASK = np.arange(7) < GOLDENS["lengths"][:, None]


def encode(params, inputs):
    layer = ConvolutionalEncoderLayer(width=5, kernel=3, dilation=2)
    return layer.apply({"params": params}, inputs["x"], MASK)


def decode(params, inputs):
    layer = ConvolutionalDecoderLayer(width=5, embedding_width=4, kernel=3, dilation=2)
    read = (inputs["states"], inputs["values"], MASK)
    return layer.apply({"params": params}, inputs["x"], inputs["embedded"], read)


@pytest.mark.parametrize("name, function", [("encoder_layer", encode), ("decoder_layer", decode)])
def test_equals_torch_forward_and_backward(name, function, golden, wave):
    params, inputs = golden(GOLDENS, f"{name}/params"), golden(GOLDENS, f"{name}/inputs")
    expected = GOLDENS[f"{name}/output"]
    weights = 0.7 * wave(*expected.shape, seed=5)

    def loss(params, inputs):
        output = function(params, inputs)
        return jnp.sum(output * weights), output

    gradients, output = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, inputs)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6),
        gradients,
        (golden(GOLDENS, f"{name}/gradients"), golden(GOLDENS, f"{name}/input_gradients")),
    )


def with_parameters(layer, filled, *inputs):
    return {"params": filled(jax.eval_shape(layer.init, jax.random.key(0), *inputs)["params"])}


@pytest.mark.parametrize("kernel, dilation", [(1, 1), (3, 1), (3, 4), (5, 2)])
@pytest.mark.parametrize("causal", [False, True])
def test_a_convolution_sees_its_positions_and_no_other(causal, kernel, dilation, filled, wave):
    layer = GatedConvolution(width=4, kernel=kernel, dilation=dilation, causal=causal)
    x = wave(1, 20, 4).astype(np.float32)
    variables = with_parameters(layer, filled, x)
    changed = x.copy()
    changed[0, 9] += 1
    usual, other = jax.jit(layer.apply)(variables, np.concatenate([x, changed]))
    assert usual.shape == x.shape[1:]
    seen_by = np.flatnonzero(np.any(usual != other, axis=1))
    first = 9 if causal else 9 - kernel // 2 * dilation
    np.testing.assert_array_equal(seen_by, first + dilation * np.arange(kernel))


@pytest.mark.parametrize("kernel, dilation", [(1, 1), (2, 1), (3, 4)])
def test_steps_walk_the_same_way_as_the_whole(kernel, dilation, filled, wave):
    layer = GatedConvolution(width=4, kernel=kernel, dilation=dilation, causal=True)
    x = wave(3, 10, 4).astype(np.float32)
    variables = with_parameters(layer, filled, x)
    whole = jax.jit(layer.apply)(variables, x)
    step = jax.jit(functools.partial(layer.apply, method="step"))
    past = layer.apply(variables, 3, 2, method="start")
    assert past.shape == (3, 2, (kernel - 1) * dilation, 4)
    for time in range(10):
        both = np.repeat(x[:, None, time], 2, axis=1)
        past, output = step(variables, past, both)
        for hypothesis in range(2):
            np.testing.assert_allclose(output[:, hypothesis], whole[:, time], rtol=1e-5, atol=1e-6)


def test_an_encoder_layer_sees_nothing_in_padding(filled, wave):
    layer = ConvolutionalEncoderLayer(width=4, kernel=5)
    x = jnp.asarray(wave(3, 7, 4), jnp.float32)
    variables = with_parameters(layer, filled, x, MASK)

    @jax.jit
    def real(x):
        return jnp.where(MASK[..., None], layer.apply(variables, x, MASK), 0)

    outputs = real(x)
    np.testing.assert_array_equal(real(jnp.where(MASK[..., None], x, 9.0)), outputs)
    alone = jax.jit(layer.apply)(variables, x[2:, :4], MASK[2:, :4])
    np.testing.assert_allclose(outputs[2, :4], alone[0], rtol=1e-5, atol=1e-6)
    gradient = np.asarray(jax.jit(jax.grad(lambda x: jnp.sum(jnp.sin(real(x)))))(x))
    assert not np.any(gradient[~MASK])
    assert np.all(np.any(gradient[MASK], axis=-1))


def test_a_decoder_layer_without_attention_is_its_convolution_and_the_residual(filled, wave):
    layer = ConvolutionalDecoderLayer(5, embedding_width=4, kernel=3, dilation=2, attention="none")
    x, embedded = wave(2, 7, 5).astype(np.float32), wave(2, 7, 4, seed=1)
    variables = with_parameters(layer, filled, x, embedded, None)
    assert variables["params"].keys() == {"convolution"}
    convolution = GatedConvolution(width=5, kernel=3, dilation=2, causal=True)
    found = convolution.apply({"params": variables["params"]["convolution"]}, x)
    expected = (found + x) * np.sqrt(0.5)
    np.testing.assert_allclose(layer.apply(variables, x, embedded, None), expected, rtol=1e-6)
    assert layer.apply(variables, (x, x, x[..., 0] > 0), method="prepare") is None


def test_attention_weights_are_returned_on_request(golden):
    layer = ConvolutionalDecoderLayer(width=5, embedding_width=4, kernel=3)
    inputs = golden(GOLDENS, "decoder_layer/inputs")
    variables = {"params": golden(GOLDENS, "decoder_layer/params")}
    read = (inputs["states"], inputs["values"], MASK)
    reported = functools.partial(layer.apply, mutable=[SOURCE_ATTENTION])
    _, reported = jax.jit(reported)(variables, inputs["x"], inputs["embedded"], read)
    (weights_BxHxTxS,) = reported[SOURCE_ATTENTION]["weights"]
    assert weights_BxHxTxS.shape == (3, 1, 6, 7)
    np.testing.assert_allclose(weights_BxHxTxS.sum(-1), 1, rtol=1e-6)
    assert not np.any(np.asarray(weights_BxHxTxS) * ~MASK[:, None, None])


def test_dropout_acts_on_the_inputs_of_a_convolution(filled, wave):
    layer = GatedConvolution(width=4, kernel=3, dropout=0.5)
    x = wave(1, 6, 4).astype(np.float32)
    variables = with_parameters(layer, filled, x)
    still = layer.apply(variables, x)
    shaken = jax.jit(lambda key: layer.apply(variables, x, False, rngs={"dropout": key}))(
        jax.random.key(0)
    )
    assert np.abs(np.asarray(shaken - still)).max() > 0.1


def test_dilations_double_up_to_the_largest_and_begin_again():
    assert dilations(3, 1) == [1, 1, 1]
    assert dilations(7, 4) == [1, 2, 4, 1, 2, 4, 1]
    assert dilations(2, 16) == [1, 2]
