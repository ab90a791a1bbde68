import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.search.filters import (
    Filters,
    apply_filters,
    min_p,
    repetition_penalty,
    temperature,
    top_k,
    top_p,
    typical_p,
)

INF = math.inf


def probabilities(logits):
    return np.asarray(jax.nn.softmax(logits, axis=-1))


def logits_of(*shares):
    with np.errstate(divide="ignore"):
        return jnp.asarray(np.log(np.float32(shares)))


def kept(logits):
    return np.flatnonzero(np.isfinite(np.asarray(logits))).tolist()


# Of 0.4, 0.3, 0.2 and 0.1, in another order.
SHARES = (0.1, 0.4, 0.2, 0.3)


@pytest.mark.parametrize(
    ("k", "expected"), [(1, [1]), (2, [1, 3]), (3, [1, 2, 3]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])]
)
def test_top_k_keeps_the_k_most_probable(k, expected):
    assert kept(top_k(logits_of(*SHARES), k)) == expected


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.0, [1]),
        (0.39, [1]),
        (0.41, [1, 3]),
        (0.69, [1, 3]),
        (0.71, [1, 2, 3]),
        (0.89, [1, 2, 3]),
        (0.91, [0, 1, 2, 3]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_top_p_keeps_the_smallest_set_with_that_much_probability(p, expected):
    assert kept(top_p(logits_of(*SHARES), p)) == expected


@pytest.mark.parametrize(
    ("p", "expected"),
    [(0.0, [0, 1, 2, 3]), (0.24, [0, 1, 2, 3]), (0.26, [1, 2, 3]), (0.74, [1, 3]), (1.0, [1])],
)
def test_min_p_is_a_share_of_the_largest_probability(p, expected):
    assert kept(min_p(logits_of(*SHARES), p)) == expected


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        # The entropy is 1.280 nats; the informations 2.303, 0.916, 1.609 and 1.204 are distant
        # from it by 1.023, 0.364, 0.330 and 0.076.
        (0.0, [3]),
        (0.29, [3]),
        (0.31, [2, 3]),
        (0.51, [1, 2, 3]),
        (0.91, [0, 1, 2, 3]),
        (1.0, [0, 1, 2, 3]),
    ],
)
def test_typical_keeps_what_is_as_informative_as_expected(p, expected):
    assert kept(typical_p(logits_of(*SHARES), p)) == expected


def test_temperature_is_a_power_of_the_probabilities():
    squared = np.square(SHARES) / np.sum(np.square(SHARES))
    np.testing.assert_allclose(
        probabilities(temperature(logits_of(*SHARES), 0.5)), squared, rtol=1e-5
    )


@pytest.mark.parametrize("value", [0.0, 1e-12, 1e-30])
def test_a_low_temperature_leaves_the_most_probable_tokens(value):
    logits = jnp.asarray([1e4, -3.0, 1e4, 9999.0, -INF])
    np.testing.assert_array_equal(probabilities(temperature(logits, value)), [0.5, 0, 0.5, 0, 0])


def test_repetition_penalty_divides_positive_and_multiplies_negative_logits():
    logits = jnp.asarray([2.0, -2.0, 2.0, -2.0, 0.0, -INF])
    seen = jnp.asarray([True, True, False, False, True, True])
    np.testing.assert_array_equal(
        repetition_penalty(logits, 4.0, seen), [0.5, -8.0, 2.0, -2.0, 0.0, -INF]
    )


FILTERS = {
    "temperature": temperature,
    "top_k": top_k,
    "top_p": top_p,
    "min_p": min_p,
    "typical_p": typical_p,
    "repetition_penalty": lambda logits, p: repetition_penalty(logits, p, logits > -1),
}
# A value that filters a lot.
STRONG = {
    "temperature": 0.3,
    "top_k": 2,
    "top_p": 0.3,
    "min_p": 0.8,
    "typical_p": 0.3,
    "repetition_penalty": 1.7,
}
EDGES = {
    "plain": [0.3, -1.2, 2.5, 0.0, 1.1],
    "large": [300.1, 200.2, 300.3, -1e30, 299.0],
    "tied": [1.0, 1.0, 1.0, 1.0, 1.0],
    "impossible": [-INF, 0.5, -INF, 0.2, -INF],
    "certain": [-INF, -INF, 7.3, -INF, -INF],
    "nearly certain": [-90.0, 90.0, -90.0, -90.0, -90.0],
}


@pytest.mark.parametrize("logits", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("name", FILTERS)
def test_the_neutral_value_changes_no_bit(name, logits):
    logits = jnp.asarray([logits, EDGES["plain"]])
    neutral = getattr(Filters(), name)
    np.testing.assert_array_equal(FILTERS[name](logits, neutral), logits)
    if name != "top_k":
        traced = jax.jit(FILTERS[name])(logits, jnp.float32(neutral))
        np.testing.assert_array_equal(traced, logits)
    np.testing.assert_array_equal(apply_filters(logits, Filters()), logits)


@pytest.mark.parametrize("logits", EDGES.values(), ids=EDGES)
@pytest.mark.parametrize("name", FILTERS)
def test_something_possible_is_kept_whatever_the_logits(name, logits):
    found = probabilities(FILTERS[name](jnp.asarray(logits), STRONG[name]))
    np.testing.assert_allclose(found.sum(), 1.0, rtol=1e-6)
    assert (found[np.asarray(logits) == -INF] == 0).all()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("top_k", 3, [0, 1, 2]),
        ("top_p", 0.5, [0, 1, 2]),
        ("typical_p", 0.5, [0, 1, 2]),
        # By value, not by rank.
        ("min_p", 1.0, [0, 1, 2, 3, 4]),
    ],
)
def test_of_equal_tokens_those_with_lower_ids_are_kept(name, value, expected):
    assert kept(FILTERS[name](jnp.zeros(5), value)) == expected


def test_of_tokens_tied_at_the_edge_only_those_that_fit_are_kept():
    shares = (0.1, 0.2, 0.3, 0.2, 0.2)
    assert kept(top_k(logits_of(*shares), 3)) == [1, 2, 3]
    assert kept(top_p(logits_of(*shares), 0.45)) == [1, 2]


def test_rows_are_filtered_one_by_one():
    logits = jnp.asarray(np.sin(np.arange(2 * 3 * 7) ** 1.3).reshape(2, 3, 7) * 3, jnp.float32)
    filters = Filters(**STRONG)._replace(min_p=0.1)
    seen = logits > 0
    together = apply_filters(logits, filters, seen)
    for row in np.ndindex(2, 3):
        np.testing.assert_array_equal(apply_filters(logits[row], filters, seen[row]), together[row])


def test_each_filter_reads_what_the_one_before_it_left():
    # Of 0.4, 0.3, 0.2 and 0.1 top-k leaves 0.57 and 0.43, of which 0.5 is one token, not two.
    logits = logits_of(*SHARES)
    assert kept(top_p(logits, 0.5)) == [1, 3]
    assert kept(apply_filters(logits, Filters(top_k=2, top_p=0.5))) == [1]
    # At temperature 0.5 the largest shares are 0.53 and 0.3.
    assert kept(apply_filters(logits, Filters(temperature=0.5, top_p=0.5))) == [1]
    # Seen tokens are made rarer before anything is counted.
    seen = jnp.asarray([False, True, False, False])
    penalized = Filters(top_k=1, repetition_penalty=2.0)
    assert kept(apply_filters(logits, penalized, seen)) == [3]


def test_numbers_may_be_traced():
    logits = jnp.asarray(EDGES["plain"])
    values = {name: value for name, value in STRONG.items() if name != "top_k"}
    run = jax.jit(
        lambda logits, numbers, seen: apply_filters(logits, Filters(top_k=4, **numbers), seen)
    )
    expected = apply_filters(logits, Filters(top_k=4, **values), logits > 1)
    found = run(logits, jax.tree.map(jnp.float32, values), logits > 1)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def reference(logits, *, top_p=1.0, typical_p=1.0):
    """The definitions, with lists."""
    shares = probabilities(logits).astype(np.float64)
    if top_p < 1:
        order, p = np.argsort(-shares, kind="stable"), top_p
    else:
        entropy = -np.sum(shares * np.log(shares))
        order, p = np.argsort(np.abs(-np.log(shares) - entropy), kind="stable"), typical_p
    chosen, mass = [], 0.0
    for token in order.tolist():
        if mass >= p:
            break
        chosen.append(token)
        mass += shares[token]
    return sorted(chosen)


@pytest.mark.parametrize("name", ["top_p", "typical_p"])
@pytest.mark.parametrize("p", [0.05, 0.3, 0.6, 0.9, 0.97])
def test_sets_of_many_tokens_equal_their_definition(name, p):
    logits = jnp.asarray(np.sin(np.arange(1000) ** 1.3) * 4, jnp.float32)
    run = jax.jit(functools.partial(FILTERS[name]))
    assert kept(run(logits, p)) == reference(logits, **{name: p})
