"""Embeddings, stacks that differ, precision and dropout; test_contract.py has the rest."""

import jax
import jax.numpy as jnp
import numpy as np

from seqjax.architectures.contract import reorder
from seqjax.architectures.encoder_decoder import build
from seqjax.config import default_config
from seqjax.data.tokenizer import BOS, EOS, PAD

VOCABULARY = 13
SOURCE = np.array([[5, 9, 4, 7, EOS], [8, EOS, PAD, PAD, PAD], [6, 6, 10, EOS, PAD]], np.int32)
TARGET = np.array([[BOS, 4, 12, 5, 7, 6], [BOS, 9, 9, 4, 11, 8], [BOS, 5, 4, 8, 10, 10]], np.int32)
# Which table serves for what: (model.share_embeddings, model.tie_output).
EMBEDDINGS = {"shared": (True, True), "tied": (False, True), "own": (False, False)}
# The model's numbers -> tolerance where the order of additions may differ.
TOLERANCES = {"float32": 2e-5, "bfloat16": 6e-2}


def make(normalization, positions, activation, embeddings, dtype="float32", **changes):
    config = default_config().model
    config.share_embeddings, config.tie_output = EMBEDDINGS[embeddings]
    config.dtype = dtype
    for stack in (config.encoder, config.decoder):
        stack.update(layers=2, width=8, heads=2, feed_forward=12, max_positions=9, dropout=0.1)
        stack.update(normalization=normalization, positions=positions, activation=activation)
        stack.update(changes)
    source_vocabulary = VOCABULARY if config.share_embeddings else VOCABULARY + 3
    return build(config, source_vocabulary, VOCABULARY)


def with_parameters(model, filled):
    shapes = jax.eval_shape(model.init, jax.random.key(0), SOURCE, TARGET)["params"]
    return {"params": filled(shapes)}


def close(actual, expected, dtype):
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])


def walk(model, variables, targets_BxKxT, parents_TxBxK):
    """Returns logits [B, K, T, V] of the recurrent view; each beam is reordered after step t."""
    rows, hypotheses, length = targets_BxKxT.shape

    @jax.jit
    def start(variables):
        memory = model.apply(variables, SOURCE, method="encode")
        return model.apply(variables, memory, hypotheses, 8, method="start")

    step = jax.jit(lambda *arguments: model.apply(*arguments, method="step"))
    carry, logits = start(variables), []
    for t in range(length):
        carry, new = step(variables, carry, targets_BxKxT[:, :, t])
        logits.append(new)
        carry = reorder(carry, jnp.asarray(parents_TxBxK[t]))
    assert carry.position.tolist() == [length] * rows
    return np.stack(logits, axis=2)


def test_the_parameters_are_what_the_config_says(filled):
    def tables(embeddings):
        params = with_parameters(make("pre", "learned", "relu", embeddings), filled)["params"]
        return {name: jax.tree.map(np.shape, params[name]) for name in params}, params

    shared, _ = tables("shared")
    assert shared.keys() == {"source_embedding", "encoder", "decoder"}
    tied, _ = tables("tied")
    assert tied.keys() == {"source_embedding", "target_embedding", "encoder", "decoder"}
    assert tied["source_embedding"]["table"] == (VOCABULARY + 3, 8)
    own, params = tables("own")
    assert own["decoder"]["output"] == {"kernel": (8, VOCABULARY), "bias": (VOCABULARY,)}
    assert "norm" in params["encoder"]
    post = with_parameters(make("post", "sinusoidal", "relu", "own"), filled)["params"]
    assert "norm" not in post["encoder"] and "position" not in post["encoder"]


def test_stacks_may_differ(filled):
    config = default_config().model
    config.share_embeddings, config.tie_output = False, False
    config.encoder.update(layers=1, width=6, heads=3, feed_forward=10, positions="learned")
    config.decoder.update(layers=1, width=8, heads=2, feed_forward=12, activation="swiglu")
    model = build(config, VOCABULARY, VOCABULARY)
    variables = with_parameters(model, filled)
    assert sum("gate" in str(path) for path, _ in jax.tree.leaves_with_path(variables)) == 2
    memory = jax.eval_shape(lambda v: model.apply(v, SOURCE, method="encode"), variables)
    assert memory.states.shape == (3, 5, 6)
    tokens = np.repeat(TARGET[:, None], 2, axis=1)
    stay = np.broadcast_to(np.arange(2), (6, 3, 2))
    logits = jax.jit(model.apply)(variables, SOURCE, TARGET)
    close(walk(model, variables, tokens, stay)[:, 1], logits, "float32")


def test_bfloat16_computes_near_float32_and_keeps_parameters_and_logits(filled):
    full = make("pre", "sinusoidal", "swiglu", "own")
    half = make("pre", "sinusoidal", "swiglu", "own", "bfloat16")
    variables = with_parameters(full, filled)
    halved = jax.eval_shape(half.init, jax.random.key(0), SOURCE, TARGET)
    assert {leaf.dtype for leaf in jax.tree.leaves(halved)} == {jnp.dtype("float32")}
    memory = jax.eval_shape(lambda v: half.apply(v, SOURCE, method="encode"), variables)
    assert memory.states.dtype == jnp.bfloat16
    logits = [jax.jit(model.apply)(variables, SOURCE, TARGET) for model in (half, full)]
    close(*logits, "bfloat16")


def operations(jaxpr):
    """Yields all equations of a jaxpr, those of inner ones included."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                if hasattr(inner, "eqns"):
                    yield from operations(inner)
                elif hasattr(inner, "jaxpr"):
                    yield from operations(inner.jaxpr)


def test_bfloat16_multiplies_in_bfloat16_and_takes_exponentials_and_roots_in_float32(filled):
    model = make("pre", "sinusoidal", "relu", "shared", "bfloat16")
    variables = with_parameters(model, filled)
    jaxpr = jax.make_jaxpr(lambda v: model.apply(v, SOURCE, TARGET))(variables).jaxpr
    dtypes = {}
    for equation in operations(jaxpr):
        found = {str(v.aval.dtype) for v in equation.invars if hasattr(v.aval, "dtype")}
        dtypes.setdefault(equation.primitive.name, set()).update(found)
    assert dtypes["dot_general"] == {"bfloat16"}
    assert dtypes["exp"] == {"float32"}  # softmax
    assert dtypes["rsqrt"] == {"float32"}  # layer normalization
    assert dtypes["reduce_sum"] == {"float32"}


def test_dropout_acts_in_every_place_that_has_a_rate(filled):
    places = ("dropout", "attention_dropout", "activation_dropout")
    off = dict.fromkeys(places, 0.0)
    key = jax.random.key(1)
    for place in places:
        model = make("pre", "sinusoidal", "relu", "own", **{**off, place: 0.5})
        variables = with_parameters(model, filled)
        still = model.apply(variables, SOURCE, TARGET)
        shaken = model.apply(variables, SOURCE, TARGET, False, rngs={"dropout": key})
        again = model.apply(variables, SOURCE, TARGET, False, rngs={"dropout": key})
        np.testing.assert_array_equal(shaken, again)
        assert np.abs(np.asarray(shaken - still)).max() > 0.05, place
    model = make("pre", "sinusoidal", "relu", "own", **off)
    variables = with_parameters(model, filled)
    np.testing.assert_array_equal(
        model.apply(variables, SOURCE, TARGET),
        model.apply(variables, SOURCE, TARGET, False, rngs={"dropout": key}),
    )
