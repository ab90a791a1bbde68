"""The contract, over every pair of an encoder and a decoder, their options, and decoders alone.

Both views of a decoder agree, also when beams are reordered; padding, company and order never
change a result; nothing looks ahead; a beam of one is greedy search; gradients reach every
parameter; and attention to the source sums to one over it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.architectures.attention_fields import ATTENTIONS_OF
from seqjax.architectures.contract import Carry, reorder
from seqjax.architectures.decoder_only import build_decoder_only
from seqjax.architectures.encoder_decoder import build, source_attention
from seqjax.config import RELATIONS, default_config
from seqjax.data.tokenizer import BOS, EOS, PAD
from seqjax.search.beam import beam_search

VOCABULARY = 13
SOURCE = np.array([[5, 9, 4, 7, EOS], [8, EOS, PAD, PAD, PAD], [6, 6, 10, EOS, PAD]], np.int32)
TARGET = np.array([[BOS, 4, 12, 5, 7, 6], [BOS, 9, 9, 4, 11, 8], [BOS, 5, 4, 8, 10, 10]], np.int32)
ROWS, LENGTH, HYPOTHESES = 3, 6, 3
# Where the order of additions may differ.
TOLERANCES = {"float32": 2e-5, "bfloat16": 6e-2}
SUM_TOLERANCES = {"float32": 1e-5, "bfloat16": 1e-2}
KINDS = ("elman", "lstm", "gru", "convolutional", "transformer")
SUTSKEVER = {"attention": "none", "bridge": "last", "readout": "state"}
CHO = {"attention": "none", "feed_summary": True, "readout": "deep"}
BAHDANAU = {"attention": "additive", "attention_order": "attend_first", "readout": "deep"}
LUONG = {"attention": "general", "input_feeding": True, "bridge": "zeros"}
LOCATION = {"attention": "location", "attention_order": "attend_first", "readout": "state"}
# What recurrent decoders of the pairs have, in turn, and convolutional ones.
RECURRENT = [
    BAHDANAU,
    LUONG | {"residual": True},
    CHO,
    {"attention": "multi_head", "cell_normalization": True},
    LOCATION,
]
CONVOLUTIONAL = [{"attention": name} for name in ("general", "additive", "multi_head")]
# Kinds of attention and of decoder beside those.
OTHERS = [
    ("lstm", "lstm", SUTSKEVER | {"direction": "backward"}),
    ("gru", "gru", {"attention": "dot", "direction": "forward"}),
    ("elman", "lstm", {"attention": "additive_normalized", "input_feeding": True}),
    ("lstm", "gru", {"attention": "concat", "attention_width": 5}),
    ("transformer", "lstm", {"attention": "location", "input_feeding": True}),
    ("gru", "lstm", {"attention": "general", "past_attention": "dot", "past_window": 3}),
    ("gru", "lstm", LUONG | {"attention_order": "attend_first", "cell_normalization": True}),
    ("gru", "gru", LUONG | {"feed_summary": True, "bridge": "last", "direction": "forward"}),
    ("lstm", "lstm", LUONG | {"bridge": "projection", "last_width": 6}),
    ("convolutional", "convolutional", {"attention": "dot"}),
    ("gru", "convolutional", {"attention": "concat", "kernel": 5, "positions": "none"}),
    ("convolutional", "convolutional", {"attention": "general", "max_dilation": 4}),
    ("transformer", "transformer", {"positions": "rotary", "key_value_heads": 1, "window": 2}),
    ("transformer", "transformer", {"positions": "alibi", "norm": "rms", "activation": "swiglu"}),
]
# Each of whose parts the others have, too.
REPEATED = [
    ("lstm", "lstm", CHO | {"residual": True, "cell_normalization": True}),
    ("gru", "gru", {"attention": "scaled_dot", "direction": "backward", "readout": "deep"}),
    ("transformer", "lstm", BAHDANAU | {"attention": "multi_head", "readout": "attentional"}),
    ("lstm", "elman", LOCATION | {"cell_normalization": True, "residual": True}),
    ("convolutional", "convolutional", {"attention": "scaled_dot", "kernel": 1}),
    ("lstm", "convolutional", {"attention": "additive_normalized", "embedding_width": 6}),
    ("transformer", "transformer", {"norm": "rms", "normalization": "post", "window": 3}),
    ("transformer", "transformer", {"normalization": "post", "positions": "learned"}),
    ("transformer", "transformer", {"positions": "relative", "activation": "gelu"}),
    ("transformer", "transformer", {"positions": "none", "activation": "geglu", "window": 1}),
]
# Decoders that read the source themselves.
ALONE = [("none", kind, {"attention": "none"}) for kind in KINDS]
ALONE += [
    ("none", "transformer", {"attention": "none", "prefix_lm": True, "positions": "relative"})
]


def cases():
    """Yields (encoder, decoder, changes, dtype): all pairs, then the others."""
    for i, encoder in enumerate(KINDS):
        for j, decoder in enumerate(KINDS):
            options = {"transformer": [{}], "convolutional": CONVOLUTIONAL}.get(decoder, RECURRENT)
            dtype = "bfloat16" if i == (j + 1) % len(KINDS) else "float32"
            yield encoder, decoder, options[(i + j) % len(options)], dtype
    yield from ((*other, "float32") for other in [*OTHERS, *REPEATED, *ALONE])


def name(case):
    encoder, decoder, changes, dtype = case
    words = [
        value if isinstance(value, str) else f"{key}_{value}" for key, value in changes.items()
    ]
    return "-".join([encoder, decoder, *words, dtype])


CASES = list(cases())
PAIRS = CASES[: len(KINDS) ** 2]
FAST = [case for case in CASES if case[0] == case[1]][:5]


def make(encoder, decoder, changes, dtype="float32"):
    """Returns a small model, which a user could have configured."""
    # Compilation is what these tests take; two equal stacks show that layers stand on layers.
    layers = 2 if encoder in (decoder, "none") else 1
    config = default_config()
    model = config.model
    index = KINDS.index(encoder) if encoder in KINDS else 2
    # Tables of their own, one that serves the output too, and one for everything.
    model.tie_output, model.share_embeddings = index % 3 > 0, index % 3 > 1
    model.dtype = dtype
    config.data.update(max_source_length=9, max_target_length=9)
    for stack, kind in ((model.encoder, encoder), (model.decoder, decoder)):
        stack.update(kind=kind, layers=layers, width=8, heads=2, feed_forward=12, max_positions=9)
        stack.update({key: value for key, value in changes.items() if key in stack})
    if "direction" not in changes:
        model.encoder.direction = ("both", "forward", "backward")[index % 3]
    for relation in RELATIONS:
        assert relation.holds(config), relation.expectation(config)
    if encoder == "none":
        return build_decoder_only(model, VOCABULARY)
    return build(model, VOCABULARY + (0 if model.share_embeddings else 3), VOCABULARY)


def with_parameters(model, filled):
    shapes = jax.eval_shape(model.init, jax.random.key(0), SOURCE, TARGET)
    assert shapes.keys() == {"params"}
    return {"params": filled(shapes["params"])}


def walk(beams, model, variables, source, tokens_BxKxT, parents_TxBxK, delays_B):
    memory = model.apply(variables, source, method="encode")
    carry = model.apply(variables, memory, HYPOTHESES, 8, method="start")
    step = functools.partial(model.apply, variables, method="step")
    return beams.walk(step, carry, tokens_BxKxT, parents_TxBxK, delays_B)


def check_views(beams, model, variables, forward, tolerance):
    """The recurrent view gives the logits of the parallel one, while beams are reordered.

    It does so as well if the rows are at different positions.
    """
    tokens, parents = beams.random(ROWS, HYPOTHESES, LENGTH, VOCABULARY)
    run = jax.jit(functools.partial(walk, beams, model))
    walks = [run(variables, SOURCE, tokens, parents, np.array(delays)) for delays in beams.delays]
    seen = beams.histories(tokens, parents)
    sources = np.tile(SOURCE, (LENGTH * HYPOTHESES, 1))
    logits = np.asarray(forward(variables, sources, seen.reshape(-1, LENGTH))[0])
    logits = logits.reshape(*seen.shape, VOCABULARY)
    for stepped in walks:
        assert stepped.dtype == logits.dtype == np.float32
        for t in range(LENGTH):
            expected = logits[t, :, :, t].swapaxes(0, 1)
            np.testing.assert_allclose(stepped[t], expected, rtol=tolerance, atol=tolerance)
    # The hypotheses differ, or reordering would not matter.
    assert np.abs(stepped[-1, :, 0] - stepped[-1, :, 1]).max() > 0.05


def check_independence(variables, forward, tolerance):
    """Padding, company and order change nothing, and nothing looks ahead."""
    source, target = repeat(SOURCE), repeat(TARGET)
    logits = np.asarray(forward(variables, source, target)[0])
    # The same compiled program, all but one sentence replaced, the others changed in the future.
    others, alone = source.copy(), target.copy()
    others[:3], alone[:3] = PAD, PAD
    others[4:9], alone[4:9] = PAD, PAD
    alone[9:12, 1:], alone[12:15, 4:] = 16 - alone[9:12, 1:], 16 - alone[12:15, 4:]
    others[15:18, 0] += 1
    changed = np.asarray(forward(variables, others, alone)[0])
    np.testing.assert_array_equal(changed[3], logits[3])
    for rows, t in ((slice(9, 12), 1), (slice(12, 15), 4)):
        # Identical to the last bit: there is not even a small leak.
        np.testing.assert_array_equal(changed[rows, :t], logits[rows, :t])
        assert np.abs(changed[rows, t] - logits[rows, t]).max() > 0.05
    assert np.abs(changed[15:18] - logits[15:18]).max() > 0.005

    order = np.array([2, 0, 1])
    source = np.pad(SOURCE[order], ((0, 2), (0, 3)))
    target = np.pad(TARGET[order], ((0, 2), (0, 2)))
    padded = np.asarray(forward(variables, source, target)[0])
    assert np.isfinite(padded).all()
    expected = logits[:3][order]
    np.testing.assert_allclose(padded[:3, :LENGTH], expected, rtol=tolerance, atol=tolerance)


def repeat(rows):
    """Returns rows over and over, as many as `check_views` has: one program serves all checks."""
    return np.resize(rows, (LENGTH * HYPOTHESES * ROWS, rows.shape[1]))


def check_greedy(model, variables, forward):
    """A beam of one takes the most probable token at each position."""

    def search(variables, source):
        memory = model.apply(variables, source, method="encode")
        carry = model.apply(variables, memory, 1, LENGTH, method="start")
        limits = jnp.full(ROWS, LENGTH)
        step = functools.partial(model.apply, variables, method="step")
        return beam_search(step, carry, limits, max_length=LENGTH, beam_size=1, min_length=LENGTH)

    found = np.asarray(jax.jit(search)(variables, SOURCE).tokens[:, 0])
    read = np.concatenate([np.full((ROWS, 1), BOS), found[:, :-1]], axis=1).astype(np.int32)
    logits = np.array(forward(variables, repeat(SOURCE), repeat(read))[0][:ROWS])
    logits[..., :3] = -np.inf
    np.testing.assert_array_equal(found[:, : LENGTH - 1], logits.argmax(-1)[:, : LENGTH - 1])


def check_attention(variables, forward, decoder, layers, changes, tolerance):
    """Attention is there where it should be, and sums to one over the real source."""
    found = forward(variables, repeat(SOURCE), repeat(TARGET))[1]
    kind = changes.get("attention", "multi_head")
    stacked = decoder in ("convolutional", "transformer")
    assert len(found) == (0 if kind == "none" else layers if stacked else 1)
    for weights in found:
        heads = 2 if kind == "multi_head" else 1
        weights = np.asarray(weights[:ROWS], np.float32)
        assert weights.shape == (ROWS, heads, LENGTH, SOURCE.shape[1])
        np.testing.assert_allclose(weights.sum(-1), 1.0, rtol=tolerance)
        assert not weights.transpose(0, 3, 1, 2)[SOURCE == PAD].any()


def check_gradients(model, variables, check_reached):
    """Every part of every parameter has a gradient."""
    # Every word once on either side.
    source = np.arange(2 * 9, dtype=np.int32).reshape(2, 9) % 12 + 1
    target = np.arange(2 * 9, dtype=np.int32).reshape(2, 9)[::-1] % 12 + 1
    weights = np.cos(np.arange(2 * 9 * VOCABULARY) ** 1.3).reshape(2, 9, VOCABULARY)

    def objective(params):
        return jnp.sum(model.apply({"params": params}, source, target) * weights)

    gradients = jax.jit(jax.grad(objective))(variables["params"])
    check_reached(gradients)


def check(case, filled, beams, check_reached):
    encoder, decoder, changes, dtype = case
    model = make(*case)
    variables = with_parameters(model, filled)
    forward = jax.jit(functools.partial(source_attention, model))
    check_views(beams, model, variables, forward, TOLERANCES[dtype])
    check_independence(variables, forward, TOLERANCES[dtype])
    layers = model.config.decoder.layers
    check_attention(variables, forward, decoder, layers, changes, SUM_TOLERANCES[dtype])
    if dtype != "float32":
        # Rounding may change which token is the most probable, and lose a small gradient.
        model = make(encoder, decoder, changes)
        forward = jax.jit(functools.partial(source_attention, model))
    if case in FAST:
        # Search takes what a step says, and all cases hold that this is right.
        check_greedy(model, variables, forward)
    check_gradients(model, variables, check_reached)


@pytest.mark.parametrize("case", FAST, ids=name)
def test_families_hold_the_contract(case, filled, beams, check_reached):
    check(case, filled, beams, check_reached)


# Of the pairs of two families these have each family once on either side.
MIXED = [(encoder, KINDS[(i + 2) % len(KINDS)]) for i, encoder in enumerate(KINDS)]


def slow(case):
    encoder, decoder, *_ = case
    rare = case in PAIRS and encoder != decoder and (encoder, decoder) not in MIXED
    rare = rare or (encoder == "none" and decoder in ("elman", "lstm"))
    rare = rare or case[:3] in REPEATED
    return pytest.param(case, marks=pytest.mark.thorough if rare else (), id=name(case))


@pytest.mark.slow
@pytest.mark.parametrize("case", [slow(case) for case in CASES if case not in FAST])
def test_pairs_and_kinds_of_attention_hold_the_contract(case, filled, beams, check_reached):
    check(case, filled, beams, check_reached)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.thorough] * (kind in ("elman", "gru")))
        for kind in KINDS
    ],
)
def test_gradients_in_bfloat16_are_near_those_in_float32(kind, filled):
    changes = {"transformer": {}, "convolutional": {"attention": "dot"}}.get(kind, BAHDANAU)
    weights = np.cos(np.arange(ROWS * LENGTH * VOCABULARY) ** 1.3)

    def gradients(dtype):
        model = make(kind, kind, changes, dtype)

        def objective(params):
            logits = model.apply({"params": params}, SOURCE, TARGET)
            return jnp.sum(jax.nn.log_softmax(logits) * weights.reshape(logits.shape))

        return jax.jit(jax.grad(objective))(with_parameters(model, filled)["params"])

    exact, rounded = gradients("float32"), gradients("bfloat16")
    total = np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(exact)))
    for (path, expected), found in zip(
        jax.tree_util.tree_leaves_with_path(exact), jax.tree.leaves(rounded), strict=True
    ):
        assert found.dtype == jnp.float32, path
        # Some are zero but for rounding: a bias of all keys changes no attention.
        error = np.linalg.norm(found - expected)
        assert error < 0.05 * np.linalg.norm(expected) + 0.001 * total, (path, error, total)


def test_every_pair_and_every_kind_of_attention_occurs():
    assert {case[:2] for case in CASES} == {(e, d) for e in (*KINDS, "none") for d in KINDS}
    found = {"recurrent": set(), "convolutional": set(), "transformer": set()}
    for encoder, decoder, changes, _ in CASES:
        if encoder == "none":
            continue
        family = decoder if decoder in found else "recurrent"
        found[family].add(changes.get("attention", "multi_head"))
    assert found == {family: set(kinds) for family, kinds in ATTENTIONS_OF.items()}


def test_a_prefix_is_read_in_both_directions(filled):
    causal = make("none", "transformer", {"attention": "none"})
    prefix = make("none", "transformer", {"attention": "none", "prefix_lm": True})
    variables = with_parameters(causal, filled)
    expected, found = (np.asarray(m.apply(variables, SOURCE, TARGET)) for m in (causal, prefix))
    # From the first target position on: the source was read otherwise.
    assert np.abs(found - expected).max(axis=-1).min() > 1e-3
    # A source of one token has nothing before it.
    short = np.full_like(SOURCE, PAD)
    short[:, 0] = EOS
    expected, found = (np.asarray(m.apply(variables, short, TARGET)) for m in (causal, prefix))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_reorder_moves_what_belongs_to_a_hypothesis_and_nothing_else():
    moving = {
        "hidden": jnp.arange(2 * 3 * 4).reshape(2, 3, 4),
        "count": jnp.arange(6).reshape(2, 3),
    }
    fixed = {"keys": jnp.arange(2 * 5).reshape(2, 5)}
    parents = jnp.array([[2, 0, 0], [1, 1, 2]])
    carry = reorder(Carry(fixed, moving, jnp.array([7, 3])), parents)
    assert carry.moving["count"].tolist() == [[2, 0, 0], [4, 4, 5]]
    for row in range(2):
        for k in range(3):
            np.testing.assert_array_equal(
                carry.moving["hidden"][row, k], moving["hidden"][row, parents[row, k]]
            )
    np.testing.assert_array_equal(carry.fixed["keys"], fixed["keys"])
    assert carry.position.tolist() == [7, 3]
