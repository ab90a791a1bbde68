"""The contract, over every option of the architecture.

Both views of a decoder agree, padding and company never change a result, and nothing looks ahead.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
# Every pair of two options occurs.
OPTIONS = [
    (("pre", "post")[(i + j) % 2], ("sinusoidal", "learned")[(i // 2 + j) % 2], activation, table)
    for i, activation in enumerate(("relu", "gelu", "swiglu", "geglu"))
    for j, table in enumerate(EMBEDDINGS)
]


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


NAMES = "normalization, positions, activation, embeddings"


def close(actual, expected, dtype):
    np.testing.assert_allclose(actual, expected, rtol=TOLERANCES[dtype], atol=TOLERANCES[dtype])


def walk(model, variables, targets_BxKxT, parents_TxBxK):
    """Returns logits [B, K, T, V] of the recurrent view; each beam is reordered after step t."""
    rows, hypotheses, length = targets_BxKxT.shape
    memory = model.apply(variables, SOURCE, method="encode")
    carry = model.apply(variables, memory, hypotheses, 8, method="start")
    logits = []
    for t in range(length):
        carry, new = model.apply(variables, carry, targets_BxKxT[:, :, t], method="step")
        logits.append(new)
        carry = reorder(carry, jnp.asarray(parents_TxBxK[t]))
    assert int(carry.position) == length
    return np.stack(logits, axis=2)


@pytest.mark.parametrize(
    f"{NAMES}, dtype",
    [(*options, "float32") for options in OPTIONS]
    + [(*options, "bfloat16") for options in OPTIONS[::5]],
)
def test_both_views_agree_also_when_beams_are_reordered(
    normalization, positions, activation, embeddings, dtype, filled
):
    model = make(normalization, positions, activation, embeddings, dtype)
    variables = with_parameters(model, filled)
    rows, hypotheses, length = 3, 3, TARGET.shape[1]
    random = np.random.default_rng(0)
    parents = random.integers(0, hypotheses, (length, rows, hypotheses))
    tokens = random.integers(4, VOCABULARY, (rows, hypotheses, length))
    tokens[:, :, 0] = BOS
    stepped = walk(model, variables, tokens, parents)

    # What each hypothesis has read by step t: its ancestors' tokens, then its own.
    histories = np.full((length, hypotheses, rows, length), PAD, np.int32)
    for t in range(length):
        slots = np.broadcast_to(np.arange(hypotheses), (rows, hypotheses))
        for past in range(t, -1, -1):
            histories[t, :, :, past] = np.take_along_axis(tokens[:, :, past], slots, axis=1).T
            if past:
                slots = np.take_along_axis(parents[past - 1], slots, axis=1)
    sources = np.tile(SOURCE, (length * hypotheses, 1))
    logits = model.apply(variables, sources, histories.reshape(-1, length))
    assert logits.dtype == jnp.float32
    logits = np.asarray(logits).reshape(*histories.shape, VOCABULARY)
    for t in range(length):
        close(stepped[:, :, t], logits[t, :, :, t].swapaxes(0, 1), dtype)
    assert stepped.dtype == np.float32
    # The hypotheses differ, or reordering would not matter.
    assert np.abs(stepped[:, 0, -1] - stepped[:, 1, -1]).max() > 0.1


@pytest.mark.parametrize(NAMES, OPTIONS)
def test_padding_and_company_never_change_a_result_and_nothing_looks_ahead(
    normalization, positions, activation, embeddings, filled
):
    model = make(normalization, positions, activation, embeddings)
    variables = with_parameters(model, filled)
    logits = np.asarray(model.apply(variables, SOURCE, TARGET))

    empty = np.zeros((2, SOURCE.shape[1] + 3), np.int32)
    source = np.concatenate([np.pad(SOURCE, ((0, 0), (0, 3))), empty])
    padded = model.apply(variables, source, np.pad(TARGET, ((0, 2), (0, 2))))
    assert np.isfinite(padded).all()
    close(padded[:3, : TARGET.shape[1]], logits, "float32")

    others = np.array([0, 2])
    source, target = SOURCE.copy(), TARGET.copy()
    source[others], target[others] = PAD, PAD
    alone = model.apply(variables, source, target)
    np.testing.assert_array_equal(alone[1], logits[1])

    for t in (1, 4):
        target = TARGET.copy()
        target[:, t:] = 16 - target[:, t:]
        changed = np.asarray(model.apply(variables, SOURCE, target))
        # Identical to the last bit: there is not even a small leak.
        np.testing.assert_array_equal(changed[:, :t], logits[:, :t])
        assert np.abs(changed[:, t] - logits[:, t]).max() > 0.1
    source = SOURCE.copy()
    source[:, 0] += 1
    assert np.abs(np.asarray(model.apply(variables, source, TARGET)) - logits).max() > 0.01


@pytest.mark.parametrize(NAMES, OPTIONS[::5])
def test_gradients_reach_every_parameter(normalization, positions, activation, embeddings, filled):
    model = make(normalization, positions, activation, embeddings)
    variables = with_parameters(model, filled)
    # Every word once on either side, and every learned position.
    source = np.arange(2 * 9, dtype=np.int32).reshape(2, 9) % 12 + 1
    target = np.arange(2 * 9, dtype=np.int32).reshape(2, 9)[::-1] % 12 + 1
    weights = np.cos(np.arange(2 * 9 * VOCABULARY) ** 1.3).reshape(2, 9, VOCABULARY)

    def objective(params):
        return jnp.sum(model.apply({"params": params}, source, target) * weights)

    gradients = jax.jit(jax.grad(objective))(variables["params"])
    for path, gradient in jax.tree_util.tree_leaves_with_path(gradients):
        name = jax.tree_util.keystr(path)
        if name.endswith("['key']['bias']"):
            continue  # It adds the same to all scores of a query, which softmax takes out again.
        reached = np.abs(np.asarray(gradient)) > 1e-7
        if "embedding']['table" in name:
            reached = reached[1:13].any(axis=1)
        assert reached.mean() > 0.6, f"{name}: {reached.mean():.0%} reached"


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
    assert model.apply(variables, SOURCE, method="encode").states.shape == (3, 5, 6)
    tokens = np.repeat(TARGET[:, None], 2, axis=1)
    stay = np.broadcast_to(np.arange(2), (6, 3, 2))
    logits = model.apply(variables, SOURCE, TARGET)
    close(walk(model, variables, tokens, stay)[:, 1], logits, "float32")


def test_bfloat16_computes_near_float32_and_keeps_parameters_and_logits(filled):
    full = make("pre", "sinusoidal", "swiglu", "own")
    half = make("pre", "sinusoidal", "swiglu", "own", "bfloat16")
    variables = with_parameters(full, filled)
    halved = jax.eval_shape(half.init, jax.random.key(0), SOURCE, TARGET)
    assert {leaf.dtype for leaf in jax.tree.leaves(halved)} == {jnp.dtype("float32")}
    assert half.apply(variables, SOURCE, method="encode").states.dtype == jnp.bfloat16
    close(half.apply(variables, SOURCE, TARGET), full.apply(variables, SOURCE, TARGET), "bfloat16")


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
    assert dtypes["reduce_sum"] == {"float32", "int32"}  # lengths


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
