"""The contract, of decoders without a memory.

Both views agree, also when beams are reordered; nothing looks ahead; padding and company change
nothing; gradients reach every parameter; a prompt is read as the parallel view reads it, and a
search goes on from there.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.architectures.contract import Place, no_memory
from seqjax.architectures.language_model import build_language_model
from seqjax.config import default_config
from seqjax.data.tokenizer import BOS, PAD
from seqjax.search.beam import beam_search
from seqjax.search.greedy import greedy_search
from seqjax.search.sampling import sample_keys, sample_sequences

VOCABULARY = 13
ROWS, LENGTH, HYPOTHESES = 3, 6, 3
TOKENS = np.array([[BOS, 4, 12, 5, 7, 6], [BOS, 9, 9, 4, 11, 8], [BOS, 5, 4, 8, 10, 10]], np.int32)
# Where the order of additions may differ.
TOLERANCES = {"float32": 2e-5, "bfloat16": 6e-2}
DILATED = {"kind": "convolutional", "max_dilation": 2}
ROTARY = {"kind": "transformer", "positions": "rotary", "key_value_heads": 1, "window": 2}
FAMILIES = {
    **{kind: {"kind": kind} for kind in ("elman", "lstm", "gru")},
    "convolutional": DILATED,
    "transformer": {"kind": "transformer", "layers": 1},
}
OPTIONS = {
    "lstm_deep": {"kind": "lstm", "readout": "deep", "residual": True, "tie_output": False},
    "lstm_narrow": {"kind": "lstm", "readout": "state", "embedding_width": 6} | {"last_width": 6},
    "gru_normalized": {"kind": "gru", "cell_normalization": True, "tie_output": False},
    "lstm_past": {"kind": "lstm", "past_attention": "general", "past_window": 3},
    "gru_past": {"kind": "gru", "past_attention": "additive", "readout": "deep", "past_window": 2},
    "convolution_alone": {"kind": "convolutional", "positions": "none"},
    "wide_kernel": {"kind": "convolutional", "kernel": 5, "positions": "learned"}
    | {"embedding_width": 6, "tie_output": False},
    "relative": {"kind": "transformer", "positions": "relative", "tie_output": False},
    "rotary": ROTARY,
    "alibi": {"kind": "transformer", "positions": "alibi", "norm": "rms", "activation": "swiglu"},
    "post": {"kind": "transformer", "positions": "learned", "normalization": "post"},
}
CLUSTERS = {"adaptive_cutoffs": "5,9", "adaptive_factor": 2}
ADAPTIVE = {
    "adaptive": {"kind": "transformer", "layers": 1, "tie_output": False} | CLUSTERS,
    "adaptive_tied": {"kind": "gru", "layers": 1, "embedding_width": 6, "adaptive_inputs": True}
    | CLUSTERS,
}
HALVED = {
    "gru_bfloat16": {"kind": "gru", "cell_normalization": True, "dtype": "bfloat16"},
    "convolutional_bfloat16": DILATED | {"dtype": "bfloat16"},
    "rotary_bfloat16": ROTARY | {"dtype": "bfloat16"},
}
CASES = FAMILIES | OPTIONS | ADAPTIVE | HALVED
# Options whose parts other cases have, too.
RARE = ("gru_normalized", "convolution_alone", "post", "gru_past")


def of(*groups):
    """Returns a mark of cases; those beside the families are slow, all together."""

    def marks(case):
        if case in FAMILIES:
            return ()
        return (
            pytest.mark.slow,
            *([pytest.mark.thorough] if case in HALVED or case in RARE else []),
        )

    cases = [pytest.param(case, marks=marks(case)) for group in groups for case in group]
    return pytest.mark.parametrize("case", cases)


def configured(**changes):
    """Returns `config.model` of a small model."""
    config = default_config().model
    config.decoder.update(attention="none", bridge="zeros", width=8, heads=2, feed_forward=12)
    config.decoder.update(layers=2, max_positions=9)
    for name, value in changes.items():
        (config if name in config else config.decoder)[name] = value
    return config


def with_parameters(model, filled):
    shapes = jax.eval_shape(model.init, jax.random.key(0), TOKENS)
    assert shapes.keys() == {"params"}
    return {"params": filled(shapes["params"])}


@pytest.fixture(scope="module")
def models(filled):
    """Returns a function from a case to its model, fixed parameters and parallel view."""

    @functools.cache
    def make(case):
        model = build_language_model(configured(**CASES[case]), VOCABULARY)
        forward = jax.jit(lambda variables, tokens: model.apply(variables, tokens)[0])
        return model, with_parameters(model, filled), forward

    return make


def tolerance(case):
    return TOLERANCES[CASES[case].get("dtype", "float32")]


def repeat(rows):
    """Returns rows over and over, as many as there are histories: one program serves all tests."""
    return np.resize(rows, (LENGTH * HYPOTHESES * ROWS, LENGTH))


@of(FAMILIES, OPTIONS, ADAPTIVE, HALVED)
def test_both_views_agree_while_beams_are_reordered(case, models, beams):
    model, variables, forward = models(case)
    tokens, parents = beams.random(ROWS, HYPOTHESES, LENGTH, VOCABULARY)

    @jax.jit
    def walk(variables, tokens, parents, delays):
        carry = model.apply(variables, ROWS, HYPOTHESES, 8, method="start")
        step = functools.partial(model.apply, variables, method="step")
        return beams.walk(step, carry, tokens, parents, delays)

    # Rows side by side, and at different positions.
    walks = [walk(variables, tokens, parents, np.array(delays)) for delays in beams.delays]
    seen = beams.histories(tokens, parents)
    logits = np.asarray(forward(variables, seen.reshape(-1, LENGTH)))
    logits = logits.reshape(*seen.shape, VOCABULARY)
    near = tolerance(case)
    for stepped in walks:
        assert stepped.dtype == logits.dtype == np.float32
        for t in range(LENGTH):
            expected = logits[t, :, :, t].swapaxes(0, 1)
            np.testing.assert_allclose(stepped[t], expected, rtol=near, atol=near)
    # The hypotheses differ, or reordering would not matter.
    assert np.abs(stepped[-1, :, 0] - stepped[-1, :, 1]).max() > 0.05


@of(FAMILIES, OPTIONS, HALVED)
def test_padding_and_company_change_nothing_and_nothing_looks_ahead(case, models):
    _, variables, forward = models(case)
    tokens = repeat(TOKENS)
    logits = np.asarray(forward(variables, tokens))
    # The same compiled program, all but one row replaced, and others changed in the future.
    others = tokens.copy()
    others[:3], others[4:9] = PAD, PAD
    others[9:12, 1:], others[12:15, 4:] = 16 - others[9:12, 1:], 16 - others[12:15, 4:]
    changed = np.asarray(forward(variables, others))
    np.testing.assert_array_equal(changed[3], logits[3])
    for rows, t in ((slice(9, 12), 1), (slice(12, 15), 4)):
        # Identical to the last bit: there is not even a small leak.
        np.testing.assert_array_equal(changed[rows, :t], logits[rows, :t])
        assert np.abs(changed[rows, t] - logits[rows, t]).max() > 0.05

    padded = np.asarray(forward(variables, np.pad(TOKENS[::-1], ((0, 2), (0, 2)))))
    assert np.isfinite(padded).all()
    expected = logits[:3][::-1]
    near = tolerance(case)
    np.testing.assert_allclose(padded[:3, :LENGTH], expected, rtol=near, atol=near)


@of(FAMILIES, OPTIONS, ADAPTIVE)
def test_gradients_reach_every_part_of_every_parameter(case, models, check_reached):
    model, variables, _ = models(case)
    # Every word once.
    tokens = np.arange(2 * 9, dtype=np.int32).reshape(2, 9) % 12 + 1
    weights = np.cos(np.arange(2 * 9 * VOCABULARY) ** 1.3).reshape(2, 9, VOCABULARY)

    def objective(params):
        return jnp.sum(model.apply({"params": params}, tokens)[0] * weights)

    gradients = jax.jit(jax.grad(objective))(variables["params"])
    check_reached(gradients)


@of(FAMILIES, OPTIONS, HALVED)
def test_prompts_of_unequal_length_are_read_as_the_parallel_view_reads_them(case, models):
    """Each row of two hypotheses reads two prompts, then single tokens, and may wait meanwhile."""
    model, variables, forward = models(case)
    prompts = np.array([[2, 3], [0, 4], [1, 0]])

    @jax.jit
    def read(variables, tokens, lengths):
        carry = model.apply(variables, ROWS, 2, 8, method="start")
        seen = jnp.zeros(ROWS, jnp.int32)
        found = []
        for part in range(2):
            block = jnp.take_along_axis(tokens, seen[:, None] + jnp.arange(4), axis=1, mode="clip")
            carry, logits = model.apply(variables, carry, block, lengths[:, part], method="prefill")
            seen += lengths[:, part]
            # After no tokens there is nothing to predict from.
            found.append((jnp.where(lengths[:, part] > 0, seen, 0), logits))
        for _ in range(2):
            now = jnp.repeat(jnp.take_along_axis(tokens, seen[:, None], axis=1, mode="clip"), 2, 1)
            carry, logits = model.apply(variables, carry, now, method="step")
            seen += 1
            found.append((seen, logits))
        return carry.position, found

    position, found = read(variables, TOKENS, prompts)
    assert position.tolist() == [7, 6, 3]
    expected = np.asarray(forward(variables, repeat(TOKENS))[:ROWS])
    for seen, logits in found:
        for row in np.flatnonzero((seen > 0) & (seen <= LENGTH)):
            both = np.repeat(expected[row, seen[row] - 1][None], 2, axis=0)
            near = tolerance(case)
            np.testing.assert_allclose(logits[row], both, rtol=near, atol=near)


@of(FAMILIES)
def test_hypotheses_part_after_a_common_prompt(case, models):
    model, variables, forward = models(case)
    words = np.array([[4, 9], [7, 5], [11, 6]])

    @jax.jit
    def read(variables, prompt, lengths, words):
        carry = model.apply(variables, ROWS, 2, 8, method="start")
        carry, _ = model.apply(variables, carry, prompt, lengths, method="prefill")
        carry, _ = model.apply(variables, carry, words, method="step")
        return model.apply(variables, carry, words, method="step")[1]

    lengths = np.array([3, 4, 1])
    found = read(variables, TOKENS[:, :4], lengths, words)
    for row, length in enumerate(lengths):
        for k in range(2):
            alone = np.zeros((ROWS, LENGTH), np.int32)
            alone[0, : length + 2] = [*TOKENS[row, :length], words[row, k], words[row, k]]
            expected = forward(variables, repeat(alone))[0, length + 1]
            np.testing.assert_allclose(found[row, k], expected, rtol=2e-5, atol=2e-5)


RECURRENT = {name: case for name, case in CASES.items() if case["kind"] in ("elman", "lstm", "gru")}


@of(RECURRENT)
def test_blocks_with_a_carried_state_are_read_as_one_sequence(case, models):
    model, variables, forward = models(case)

    @jax.jit
    def read(variables, tokens, fresh):
        first, carry = model.apply(variables, tokens[:, :4])
        place = Place(carry=carry, fresh=fresh)
        second, after = model.apply(variables, tokens[:, 4:], place=place)
        assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, carry)
        return jnp.concatenate([first, second], axis=1)

    near = tolerance(case)
    found = read(variables, TOKENS, np.zeros(ROWS, bool))
    whole = forward(variables, repeat(TOKENS))[:ROWS]
    np.testing.assert_allclose(found, whole, rtol=near, atol=near)
    # A row that begins a sequence has no past, and others keep theirs.
    found = read(variables, TOKENS, np.array([False, True, False]))
    np.testing.assert_allclose(found[::2], whole[::2], rtol=near, atol=near)
    alone = np.concatenate([TOKENS[:, 4:], np.zeros((ROWS, 4), np.int32)], axis=1)
    alone = forward(variables, repeat(alone))[1, :2]
    np.testing.assert_allclose(found[1, 4:], alone, rtol=near, atol=near)
    assert np.abs(alone - whole[1, 4:]).max() > 0.02


@of(FAMILIES)
def test_the_first_block_may_be_given_the_first_carry(case, models):
    model, variables, _ = models(case)
    carry = model.apply({}, ROWS, method="carry")
    assert all(len(leaf) == ROWS for leaf in jax.tree.leaves(carry))
    assert bool(jax.tree.leaves(carry)) == (case in RECURRENT)

    @jax.jit
    def read(variables, tokens, place):
        return model.apply(variables, tokens, place=place)

    logits, after = read(variables, TOKENS, Place(carry=carry, fresh=np.ones(ROWS, bool)))
    assert jax.tree.structure(after) == jax.tree.structure(carry)
    np.testing.assert_array_equal(logits, read(variables, TOKENS, Place())[0])


POSITIONED = ("transformer", "relative", "rotary", "alibi", "post")


@of(POSITIONED)
def test_documents_of_a_pack_are_read_as_if_alone(case, models):
    model, variables, forward = models(case)
    pack = np.array([[*TOKENS[0, :4], *TOKENS[1, :2]], TOKENS[2], [*TOKENS[1, :5], BOS]])
    segment = np.array([[0, 0, 0, 0, 1, 1], [0] * 6, [3, 3, 3, 3, 3, 4]])
    position = np.array([[0, 1, 2, 3, 0, 1], range(6), [0, 1, 2, 3, 4, 0]])
    place = Place(position=position, segment=segment)
    found = model.apply(variables, pack.astype(np.int32), place=place)[0]
    alone = forward(variables, repeat(TOKENS))
    near = tolerance(case)
    for row, (begin, end), other in (
        (0, (0, 4), 0), (0, (4, 6), 1), (1, (0, 6), 2), (2, (0, 5), 1), (2, (5, 6), 0)
    ):  # fmt: skip
        expected = alone[other, : end - begin]
        np.testing.assert_allclose(found[row, begin:end], expected, rtol=near, atol=near)


@pytest.mark.parametrize("case", ["lstm", "convolutional"])
def test_only_transformers_read_packs(case, models):
    model, variables, _ = models(case)
    place = Place(segment=np.zeros(TOKENS.shape, np.int32))
    with pytest.raises(ValueError, match="^segment: expected None, since only Transformers"):
        model.apply(variables, TOKENS, place=place)


def search_after_prompt(search, model, variables):
    """Returns three words that a search finds after two words of a prompt and BOS."""
    carry = model.apply(variables, ROWS, 1, LENGTH, method="start")
    lengths = np.full(ROWS, 2)
    carry, _ = model.apply(variables, carry, TOKENS[:, 1:3], lengths, method="prefill")
    step = functools.partial(model.apply, variables, method="step")
    # At the limit EOS is forced, before it is not allowed.
    found = search(step, carry, np.full(ROWS, 4), max_length=4, min_length=4)
    return found.tokens[:, 0, :3]


@of(FAMILIES, OPTIONS)
def test_greedy_search_takes_the_most_probable_of_the_parallel_view(case, models):
    model, variables, forward = models(case)
    search = jax.jit(functools.partial(search_after_prompt, greedy_search, model))
    found = np.asarray(search(variables))
    read = np.concatenate([TOKENS[:, 1:3], np.full((ROWS, 1), BOS), found], axis=1)
    logits = np.array(forward(variables, repeat(read.astype(np.int32)))[:ROWS])
    logits[..., :3] = -np.inf
    np.testing.assert_array_equal(found, logits.argmax(-1)[:, 2:-1])


@of(FAMILIES)
def test_samples_after_prompts_of_unequal_length_do_not_depend_on_company(case, models):
    model, variables, forward = models(case)
    lengths = np.array([2, 4, 1])
    prompts = np.where(np.arange(4) < lengths[:, None], TOKENS[:, :4], PAD)

    @jax.jit
    def draw(variables, prompts, lengths):
        carry = model.apply(variables, ROWS, 2, 6, method="start")
        carry, logits = model.apply(variables, carry, prompts, lengths, method="prefill")
        step = functools.partial(model.apply, variables, method="step")
        keys, limits = sample_keys(5, prompts, 2), jnp.full(ROWS, 2)
        return sample_sequences(step, carry, limits, keys, max_length=2, logits_BxNxV=logits)

    together = draw(variables, prompts, lengths)
    for rows in ([2, 0, 1], [1, 1, 1]):
        some = draw(variables, prompts[rows], lengths[rows])
        np.testing.assert_array_equal(some.tokens, together.tokens[np.array(rows)])
    for row, length in enumerate(lengths):
        for tokens, found in zip(
            together.tokens[row], together.log_probabilities[row], strict=True
        ):
            read = np.zeros((ROWS, LENGTH), np.int32)
            read[0, : length + 2] = [*prompts[row, :length], *tokens]
            shares = jax.nn.log_softmax(forward(variables, repeat(read))[0])
            places = length - 1 + np.arange(2)
            expected = (shares[places, tokens] * (np.asarray(tokens) != PAD)).sum()
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_beam_of_one_is_greedy_search(models):
    model, variables, _ = models("elman")
    beam = functools.partial(beam_search, beam_size=1)
    np.testing.assert_array_equal(
        jax.jit(functools.partial(search_after_prompt, beam, model))(variables),
        jax.jit(functools.partial(search_after_prompt, greedy_search, model))(variables),
    )


@pytest.mark.parametrize("layers, kernel, largest", [(1, 3, 1), (6, 2, 4), (3, 4, 2), (5, 3, 16)])
def test_a_dilated_stack_sees_as_far_as_the_formula_says(layers, kernel, largest, filled):
    changes = {"layers": layers, "kernel": kernel, "max_dilation": largest, "positions": "none"}
    model = build_language_model(configured(kind="convolutional", **changes), VOCABULARY)
    doubling = [min(2**i, largest) for i in range(largest.bit_length())]
    field = 1 + (kernel - 1) * sum((doubling * layers)[:layers])
    tokens = np.full((2, field + 5), 4, np.int32)
    tokens[1, 2] = 5
    usual, other = jax.jit(model.apply)(with_parameters(model, filled), tokens)[0]
    seen_by = np.flatnonzero(np.any(usual != other, axis=1))
    np.testing.assert_array_equal(seen_by, 2 + np.arange(field))


# What a decoder without attention has in a layer, and beside its layers.
PARTS = {
    "lstm_narrow": {"stack_0", "stack_1"},
    "lstm_deep": {"stack_0", "stack_1", "output"},
    "gru": {"stack_0", "stack_1", "combine"},
    "convolutional": {"convolution", "enter", "leave"},
    "alibi": {"attention", "attention_residual", "inner", "inner_residual", "norm"},
}


@pytest.mark.parametrize("case", PARTS)
def test_there_are_parameters_for_what_is_there_and_no_others(case, models):
    params = models(case)[1]["params"]
    assert params.keys() == {"embedding", "decoder"}
    blocks = [params["decoder"].pop(name) for name in list(params["decoder"]) if "block" in name]
    assert set().union(params["decoder"], *blocks) == PARTS[case]


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "transformer", "attention": "multi_head"},
        {"kind": "convolutional", "attention": "dot", "bridge": "last"},
        {"kind": "lstm", "attention": "additive", "attention_order": "attend_first"},
        {"kind": "gru", "bridge": "last", "feed_summary": True},
        {"kind": "elman", "input_feeding": True, "attention": "location"},
    ],
)
def test_fields_that_concern_a_source_have_no_effect(changes):
    tokens = jnp.ones((1, 3), jnp.int32)
    given = configured(**changes)
    before = given.to_dict()
    plain = configured(kind=changes["kind"])
    shapes = [
        jax.eval_shape(build_language_model(config, VOCABULARY).init, jax.random.key(0), tokens)
        for config in (given, plain)
    ]
    assert jax.tree.map(lambda x: x.shape, shapes[0]) == jax.tree.map(lambda x: x.shape, shapes[1])
    # The caller's config stays as it is.
    assert given.to_dict() == before


def test_no_memory_holds_nothing():
    memory = no_memory(3)
    assert all(leaf.shape[0] == 3 and leaf.size == 0 for leaf in jax.tree.leaves(memory))
