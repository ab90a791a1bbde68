"""ConvS2S: equality with torch, its scaled gradients, its dropout and its parameters."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.architectures.contract import Memory
from seqjax.architectures.convolutional import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    scale_gradient,
)
from seqjax.architectures.encoder_decoder import build
from seqjax.config import default_config
from seqjax.data.tokenizer import BOS, EOS, PAD

GOLDENS = np.load(Path(__file__).parents[1] / "goldens" / "torch" / "convolutional.npz")
VOCABULARY = 13
SOURCE = np.array([[5, 9, 4, 7, EOS], [8, EOS, PAD, PAD, PAD], [6, 6, 10, EOS, PAD]], np.int32)
TARGET = np.array([[BOS, 4, 12, 5, 7, 6], [BOS, 9, 9, 4, 11, 8], [BOS, 5, 4, 8, 10, 10]], np.int32)


def make(dtype="float32", dropout=0.1):
    """Returns a model of the paper, small, its token vectors narrower than its states."""
    config = default_config().model
    config.share_embeddings = config.tie_output = False
    config.dtype = dtype
    for stack in (config.encoder, config.decoder):
        stack.update(kind="convolutional", layers=2, width=8, embedding_width=6, dropout=dropout)
        stack.update(positions="learned", max_positions=9)
    config.decoder.attention = "dot"
    return build(config, VOCABULARY, VOCABULARY)


def with_parameters(model, filled):
    """Returns parameters with large token vectors, of which the stacks take a tenth."""
    params = filled(jax.eval_shape(model.init, jax.random.key(0), SOURCE, TARGET)["params"])
    for name in ("source_embedding", "target_embedding"):
        params[name]["table"] *= 10
    return {"params": params}


def test_both_stacks_equal_torch_forward_and_backward(golden):
    """That includes which gradients are scaled: those into layers, not those into embeddings."""
    fields = {"layers": 2, "width": 5, "embedding_width": 4, "max_dilation": 2, "positions": "none"}
    encoder = ConvolutionalEncoder(**fields)
    decoder = ConvolutionalDecoder(**fields)
    expected = GOLDENS["model/output"]
    weights = 0.7 * np.sin((np.arange(expected.size) + 500) ** 1.3).reshape(expected.shape)
    params, inputs = golden(GOLDENS, "model/params"), golden(GOLDENS, "model/inputs")

    def loss(params, inputs):
        source = inputs["source"]
        mask = np.arange(source.shape[1]) < GOLDENS["lengths"][:, None]
        memory = encoder.apply({"params": params["encoder"]}, source, mask)
        output, _ = decoder.apply({"params": params["decoder"]}, memory, inputs["target"])
        return jnp.sum(output * weights), output

    gradients, output = jax.jit(jax.grad(loss, argnums=(0, 1), has_aux=True))(params, inputs)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)
    jax.tree.map(
        lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6),
        gradients,
        (golden(GOLDENS, "model/gradients"), golden(GOLDENS, "model/input_gradients")),
    )


def test_gradients_into_any_other_memory_are_scaled_whole(filled):
    """By 1/4 at two layers, both what is compared and what is read."""
    decoder = ConvolutionalDecoder(layers=2, width=8)
    inputs = np.cos(np.arange(3 * 6 * 8, dtype=np.float32) ** 1.3).reshape(3, 6, 8)
    states = np.random.RandomState(0).standard_normal((3, 5, 8)).astype(np.float32)
    values = np.sin(5 * states)
    memory = Memory(states=states, values=values, mask=SOURCE != PAD, summary=states[:, 0])
    shapes = jax.eval_shape(decoder.init, jax.random.key(0), memory, inputs)["params"]
    variables = {"params": filled(shapes)}

    def loss(states, values):
        given = memory.replace(states=states, values=values)
        return jnp.sum(jnp.sin(decoder.apply(variables, given, inputs)[0]))

    derive = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    direction = 1e-2 * np.cos(7 * states)
    _, gradients = derive(states, values)
    for argument, gradient in enumerate(gradients):
        shift = [direction * (argument == i) for i in range(2)]
        after, _ = derive(states + shift[0], values + shift[1])
        before, _ = derive(states - shift[0], values - shift[1])
        change = after - before
        np.testing.assert_allclose(2 * np.vdot(gradient, direction), change / 4, rtol=2e-2)


def test_scaling_a_gradient_leaves_the_value_to_the_last_bit():
    x = jnp.asarray([0.1, -3.3], jnp.bfloat16)
    value, back = jax.vjp(lambda x: scale_gradient(x, 0.25), x)
    np.testing.assert_array_equal(value, x)
    np.testing.assert_array_equal(back(jnp.ones_like(x))[0], jnp.full_like(x, 0.25))


def test_dropout_acts_and_only_when_asked_for(filled):
    model = make(dropout=0.5)
    variables = with_parameters(model, filled)
    still = jax.jit(model.apply)(variables, SOURCE, TARGET)
    shake = jax.jit(lambda v, key: model.apply(v, SOURCE, TARGET, False, rngs={"dropout": key}))
    shaken = shake(variables, jax.random.key(1))
    np.testing.assert_array_equal(shaken, shake(variables, jax.random.key(1)))
    assert np.abs(np.asarray(shaken - still)).max() > 0.1


def test_parameters_are_float32_and_have_the_shapes_of_the_paper():
    model = make("bfloat16")
    params = jax.eval_shape(model.init, jax.random.key(0), SOURCE, TARGET)["params"]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    decoder = jax.tree.map(lambda leaf: leaf.shape, params["decoder"])
    assert decoder["enter"] == {"kernel": (6, 8), "scale": (8,), "bias": (8,)}
    assert decoder["block_1"]["convolution"]["map"]["kernel"] == (3 * 8, 2 * 8)
    assert decoder["block_1"]["query"]["kernel"] == (8, 6)
    assert decoder["block_1"]["context"]["kernel"] == (6, 8)
    assert decoder["leave"]["kernel"] == (8, 6)
