import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from seqjax.data.tokenizer import BOS, EOS, PAD, UNK
from seqjax.parallel.mesh import by_row, make_mesh
from seqjax.search.filters import Filters
from seqjax.search.greedy import greedy_search
from seqjax.search.hypotheses import length_norms
from seqjax.search.sampling import (
    SampleOptions,
    begin,
    draw_chunk,
    draw_token,
    gumbel_noise,
    sample_keys,
    sample_sequences,
    stream,
)

LENGTH = 9
PROMPTS = np.array([[4, 5, 6], [4, 5, PAD], [6, PAD, PAD], [5, 4, PAD], [4, 4, 4], [6, 6, PAD]])
LIMITS = np.array([9, 4, 9, 1, 0, 7])


@functools.cache
def _compiled(step, **options):
    return jax.jit(functools.partial(sample_sequences, step, **options))


def run(model, rows, samples, *, seed=1, first=0, limits=None, **options):
    """Samples some rows of `PROMPTS`."""
    rows = np.asarray(rows)
    options = {"max_length": LENGTH, **options}
    keys = sample_keys(seed, jnp.asarray(PROMPTS[rows]), samples, first)
    limits = LIMITS[rows] if limits is None else limits
    return jax.device_get(
        _compiled(model.step, **options)(model.start(rows, samples), jnp.asarray(limits), keys)
    )


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def part(found, rows, samples=slice(None)):
    return jax.tree.map(lambda leaf: leaf[np.asarray(rows)][:, samples], found)


# The exact distribution of outputs, by enumeration.


def nearest(shares, distance, p):
    """The smallest set of least distance with probability p."""
    order = np.argsort(distance, kind="stable")
    count = 1 + int(np.sum(np.cumsum(shares[order])[:-1] < p))
    keep = np.zeros(len(shares), bool)
    keep[order[:count]] = True
    return np.where(keep, shares, 0.0) / shares[keep].sum()


def next_token(logits, past, limit, filters, min_length):
    logits, allowed = logits.copy(), np.ones(len(logits), bool)
    allowed[[PAD, BOS]] = False
    if len(past) < min_length:
        allowed[EOS] = False
    if len(past) == limit - 1:
        allowed = np.arange(len(logits)) == EOS
    for token in set(past):
        penalty = filters.repetition_penalty
        logits[token] = logits[token] * penalty if logits[token] < 0 else logits[token] / penalty
    logits = np.where(allowed, logits, -np.inf) / filters.temperature
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    if filters.top_k:
        shares[np.argsort(-shares, kind="stable")[filters.top_k :]] = 0.0
        shares /= shares.sum()
    if filters.top_p < 1:
        shares = nearest(shares, -shares, filters.top_p)
    shares = np.where(shares >= filters.min_p * shares.max(), shares, 0.0)
    shares /= shares.sum()
    if filters.typical_p < 1:
        with np.errstate(divide="ignore", invalid="ignore"):
            information = -np.log(shares)
            entropy = np.nansum(shares * information)
        shares = nearest(shares, np.abs(information - entropy), filters.typical_p)
    return shares


def exact(model, sentence, limit, filters, min_length=0):
    """Returns the probability of each output."""
    found, open_ = {}, {(): 1.0}
    while open_:
        longer = {}
        for past, probability in open_.items():
            logits = model.next_logits(sentence, past)
            for token, share in enumerate(next_token(logits, past, limit, filters, min_length)):
                if share > 0:
                    (found if token == EOS else longer)[*past, token] = probability * share
        open_ = longer
    return found


COUNT = 100_000


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sample_many(step, top_k, carry, keys, numbers, min_length):
    options = SampleOptions(numbers._replace(top_k=top_k), min_length)
    return sample_sequences(step, carry, jnp.asarray([4]), keys, max_length=4, options=options)


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        Filters(temperature=0.5),
        Filters(temperature=1.7),
        Filters(top_k=2),
        Filters(top_p=0.75),
        Filters(min_p=0.3),
        Filters(typical_p=0.6),
        Filters(repetition_penalty=3.0),
        Filters(1.6, 4, 0.9, 0.1, 0.9, 1.3),
    ],
    ids=lambda filters: repr(filters)[7:],
)
def test_samples_have_the_distribution_of_the_model(history_model, filters):
    model, min_length = history_model(1, 7), int(filters.top_k == 4)
    keys = sample_keys(1, jnp.asarray(PROMPTS[:1]), COUNT)
    traced = jax.tree.map(jnp.float32, filters._replace(top_k=None))
    found = _sample_many(
        model.step, filters.top_k, model.start([0], COUNT), keys, traced, min_length
    )
    expected = exact(model, 0, 4, filters, min_length)
    np.testing.assert_allclose(sum(expected.values()), 1.0)
    outputs, counts = np.unique(found.tokens[0], axis=0, return_counts=True)
    outputs = [tuple(token for token in output if token != PAD) for output in outputs.tolist()]
    counts = dict(zip(outputs, counts.tolist(), strict=True))
    assert set(counts) <= set(expected)
    observed = np.array([counts.get(output, 0) for output in expected])
    wanted = np.array(list(expected.values())) * COUNT
    # Cells that are expected to hold few samples are put together.
    few = wanted < 10
    observed, wanted = (
        np.append(cells[~few], cells[few].sum()) if few.any() else cells
        for cells in (observed, wanted)
    )
    assert len(wanted) > 3
    assert scipy.stats.chisquare(observed, wanted).pvalue > 1e-5


def test_the_unknown_token_is_never_drawn_if_it_may_not_be(history_model):
    model = history_model(1, 7)
    drawn = run(model, [0], 500, options=SampleOptions(unknown=False))
    assert UNK not in drawn.tokens
    assert UNK in run(model, [0], 500).tokens


# A sample is a function of (seed, prompt, index).


@pytest.fixture(scope="module")
def together(history_model):
    model = history_model(len(PROMPTS), 7, end=-1.0)
    return model, run(model, range(len(PROMPTS)), 4)


@pytest.mark.parametrize("rows", [[2], [5, 0, 0], [5, 4, 3, 2, 1, 0]])
def test_a_sample_does_not_depend_on_company_or_place(together, rows):
    model, everything = together
    assert_same(run(model, rows, 4), part(everything, rows))


def test_a_sample_does_not_depend_on_the_number_of_samples(together):
    model, everything = together
    assert_same(run(model, range(6), 2, first=2), part(everything, range(6), slice(2, 4)))


def test_a_sample_does_not_depend_on_padding_or_the_longest_output(together):
    model, everything = together
    keys = sample_keys(1, jnp.asarray(PROMPTS), 4)
    wide = np.pad(PROMPTS, ((0, 0), (2, 3)))
    np.testing.assert_array_equal(
        jax.random.key_data(sample_keys(1, jnp.asarray(wide), 4)), jax.random.key_data(keys)
    )
    longer = run(model, range(6), 4, max_length=12)
    assert_same(longer.replace(tokens=longer.tokens[..., :LENGTH]), everything)


def test_samples_differ_by_seed_prompt_and_index(together):
    model, everything = together
    assert not np.array_equal(run(model, range(6), 4, seed=2).tokens, everything.tokens)
    assert not np.array_equal(everything.tokens[0], everything.tokens[2])
    assert len(np.unique(everything.tokens[0], axis=0)) > 2
    many = np.asarray(jax.random.key_data(sample_keys(7, jnp.asarray(PROMPTS), 50)))
    assert len(np.unique(many.reshape(-1, many.shape[-1]), axis=0)) == many[..., 0].size
    # Sample 6 of the prompt (4, 5) is not the start of the prompt (4, 5, 6).
    one = np.asarray(jax.random.key_data(sample_keys(7, jnp.asarray([[4, 5]]), 8)))
    assert not (one[0, 6] == np.asarray(jax.random.key_data(sample_keys(7, PROMPTS[:1], 1)))).all()


def test_samples_do_not_depend_on_the_number_of_devices(history_model):
    prompts, limits = np.resize(PROMPTS, (8, 3)), np.resize(LIMITS, 8)
    model = history_model(8, 7, end=-1.0)

    def search(start, prompts, limits):
        return sample_sequences(
            model.step, start, limits, sample_keys(3, prompts, 2), max_length=LENGTH
        )

    alone = jax.jit(search)(model.start(range(8), 2), prompts, limits)
    rows = by_row(make_mesh())
    spread = jax.jit(search, in_shardings=(None, rows, rows))
    assert_same(spread(model.start(range(8), 2), prompts, limits), alone)


# Greedy search is the limit.


@pytest.mark.parametrize("value", [0.0, 1e-6])
def test_temperature_zero_is_greedy_search(together, value):
    model, _ = together
    options = SampleOptions(Filters(temperature=value), min_length=2, unknown=False)
    scoring = {"normalization": "gnmt", "penalty": 0.6}
    found = run(model, range(6), 3, options=options, **scoring)
    expected = greedy_search(
        model.step,
        model.start(range(6), 1),
        jnp.asarray(LIMITS),
        max_length=LENGTH,
        min_length=2,
        unknown=False,
        **scoring,
    )
    for index in range(3):
        assert_same(part(found, range(6), slice(index, index + 1)), jax.device_get(expected))


def test_temperature_zero_may_be_traced_and_takes_the_lowest_of_equal_tokens():
    def step(carry, tokens):
        return carry, jnp.broadcast_to(jnp.asarray([9.0, 9, 0, 1, 1, 1]), (*tokens.shape, 6))

    @jax.jit
    def search(value):
        options = SampleOptions(Filters(temperature=value))
        keys = sample_keys(1, jnp.asarray([[4]]), 2)
        return sample_sequences(
            step, None, jnp.asarray([5]), keys, max_length=5, options=options
        ).tokens

    assert search(0.0).tolist() == [[[3, 3, 3, 3, EOS]] * 2]
    assert search(1.0).tolist() != search(0.0).tolist()


# What a sample is worth, and where it ends.


def test_log_probabilities_are_those_of_the_model_without_filters(together):
    model, _ = together
    options = SampleOptions(Filters(0.8, 3, 0.9, 0.05, 0.95, 1.2))
    found = run(model, range(6), 3, options=options, normalization="gnmt", penalty=0.6)
    norms = length_norms("gnmt", 0.6, LENGTH)
    for row in range(6):
        for n in range(3):
            length = found.lengths[row, n]
            expected = model.log_probability(row, tuple(found.tokens[row, n, :length]))
            np.testing.assert_allclose(found.log_probabilities[row, n], expected, atol=1e-4)
            np.testing.assert_allclose(found.scores[row, n], expected / norms[length], atol=1e-4)


@pytest.mark.parametrize("forced", [True, False])
def test_samples_end_at_eos_or_at_the_limit(together, forced):
    model, _ = together
    found = run(model, range(6), 50, options=SampleOptions(min_length=2, forced_end=forced))
    lengths, ended = np.asarray(found.lengths), (found.tokens == EOS).sum(axis=-1)
    assert (lengths <= LIMITS[:, None]).all()
    assert (lengths[4] == 0).all()
    assert (lengths[0] < 9).any()
    real = np.arange(LENGTH) < lengths[..., None]
    assert ((found.tokens != PAD) == real).all()
    cut = (lengths == LIMITS[:, None]) & (ended == 0)
    assert cut[:4].any() != forced
    assert ((ended == 1) | cut).all()
    # Two tokens and EOS, if the limit allows it.
    assert (lengths[[0, 1, 2, 5]] >= 3).all()
    assert found.tokens[3, :, 0].tolist() == [EOS] * 50 if forced else EOS not in found.tokens[3]


def test_an_impossible_end_is_drawn_where_it_must_be_and_gives_no_nan():
    def step(carry, tokens):
        logits = jnp.asarray([-jnp.inf, -jnp.inf, -jnp.inf, 0.0])
        return carry, jnp.broadcast_to(logits, (*tokens.shape, 4))

    keys = sample_keys(0, jnp.asarray([[4]]), 1)
    filters = Filters(0.5, 2, 0.9, 0.1, 0.9, 1.5)
    found = sample_sequences(
        step, None, jnp.asarray([3]), keys, max_length=3, options=SampleOptions(filters)
    )
    assert found.tokens.tolist() == [[[3, 3, EOS]]]
    assert np.isfinite(found.scores).all()


def test_a_prompt_is_seen_by_the_repetition_penalty():
    def step(carry, tokens):
        logits = jnp.asarray([0.0, 0.0, -9.0, -9.0, 3.0, 2.9])
        return carry, jnp.broadcast_to(logits, (*tokens.shape, 6))

    options = SampleOptions(Filters(temperature=0, repetition_penalty=1.2))
    search = functools.partial(
        sample_sequences, step, None, jnp.asarray([3]), max_length=3, options=options
    )
    keys = sample_keys(0, jnp.asarray([[4]]), 1)
    assert search(keys).tokens.tolist() == [[[4, 5, EOS]]]
    assert search(keys, prompts_BxP=jnp.asarray([[4, PAD]])).tokens.tolist() == [[[5, 4, EOS]]]


# Prompts and streams.


def test_first_logits_replace_the_step_that_reads_bos(together):
    model, everything = together
    keys = sample_keys(1, jnp.asarray(PROMPTS), 4)

    @jax.jit
    def search(carry):
        carry, logits = model.step(carry, jnp.full((6, 4), BOS))
        limits = jnp.asarray(LIMITS)
        return sample_sequences(
            model.step, carry, limits, keys, max_length=LENGTH, logits_BxNxV=logits
        )

    assert_same(search(model.start(range(6), 4)), everything)


@pytest.mark.parametrize(("count", "prompted"), [(1, True), (4, False)])
def test_a_stream_gives_the_same_tokens_as_they_are_drawn(together, count, prompted):
    model, everything = together
    keys = sample_keys(1, jnp.asarray(PROMPTS), 4)

    @jax.jit
    def start(carry):
        logits = None
        if prompted:
            carry, logits = model.step(carry, jnp.full((6, 4), BOS))
        return begin(model.step, carry, jnp.asarray(LIMITS), keys, logits_BxNxV=logits)

    state = start(model.start(range(6), 4))
    advance = jax.jit(functools.partial(draw_chunk, model.step, count=count))
    chunks = list(stream(advance, state))
    assert {chunk.shape[-1] for chunk in chunks[1:]} <= {count}
    tokens = np.concatenate(chunks, axis=-1)[..., :LENGTH]
    assert (tokens == everything.tokens[..., : tokens.shape[-1]]).all()
    assert not everything.tokens[..., tokens.shape[-1] :].any()


def test_nothing_is_stepped_after_the_last_sample_or_for_rows_without_output(history_model):
    model = history_model(3, 7, end=3.0)
    steps = []

    def step(carry, tokens):
        jax.debug.callback(lambda: steps.append(1))
        return model.step(carry, tokens)

    def count(limits):
        steps.clear()
        keys = sample_keys(0, jnp.asarray(PROMPTS[:3]), 2)
        limits = jnp.asarray(limits)
        found = _compiled(step, max_length=LENGTH)(model.start(range(3), 2), limits, keys)
        jax.block_until_ready(found)
        jax.effects_barrier()
        return len(steps), int(found.lengths.max())

    assert count([0, 0, 0])[0] == 0
    taken, longest = count([LENGTH, 0, LENGTH])
    assert taken == longest < LENGTH


# One draw.


@pytest.mark.parametrize("vocabulary", [5, 65, 1000])
def test_a_draw_by_blocks_has_the_distribution_of_its_logits(vocabulary):
    logits = jnp.asarray(np.sin(np.arange(vocabulary) ** 1.3) * 2, jnp.float32)
    logits = logits.at[::7].set(-jnp.inf).at[0].set(1.0)
    keys = jax.random.split(jax.random.key(5), 50_000)
    found = np.bincount(
        jax.jit(jax.vmap(draw_token, (0, None)))(keys, logits), minlength=vocabulary
    )
    wanted = np.asarray(jax.nn.softmax(logits), np.float64) * len(keys)
    possible = wanted > 0
    assert len(found) == vocabulary
    assert not found[~possible].any()
    wanted *= len(keys) / wanted.sum()
    assert scipy.stats.chisquare(found[possible], wanted[possible]).pvalue > 1e-5


def test_the_largest_noise_does_not_come_in_steps():
    """Of 23 bits, JAX's default, some 190 values over 10 would fall on 380 places."""
    noise = np.asarray(gumbel_noise(jax.random.key(3), 1 << 22))
    large = noise[noise > 10]
    assert scipy.stats.poisson.sf(len(large), 190) > 1e-6
    assert scipy.stats.poisson.cdf(len(large), 190) > 1e-6
    assert len(np.unique(large)) > 0.97 * len(large)
