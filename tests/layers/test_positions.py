import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.layers.positions import (
    NO_PAIRWISE,
    Positions,
    RelativePositions,
    alibi_slopes,
    relative_buckets,
    sinusoids,
    turn,
)


def test_sinusoids_golden():
    """Frequencies 1, 1/100, 1/10000: six columns, sines first."""
    angles = np.array([[0, 0, 0], [1, 0.01, 0.0001], [2, 0.02, 0.0002], [3, 0.03, 0.0003]])
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    np.testing.assert_allclose(sinusoids(4, 6), expected, rtol=1e-6, atol=1e-9)
    assert sinusoids(4, 6)[1, 0] == pytest.approx(0.841471)
    assert sinusoids(5, 2).shape == (5, 2)  # One frequency: no division by zero.
    assert np.isfinite(sinusoids(5, 2)).all()


@pytest.mark.parametrize("kind", ["sinusoidal", "learned"])
def test_each_row_may_have_positions_of_its_own(kind, wave):
    layer = Positions(kind, max_positions=6)
    x = wave(2, 5, 4).astype(np.float32)
    table = jnp.float32(wave(6, 4, seed=2))
    variables = {"params": {"table": table}} if kind == "learned" else {}
    whole = layer.apply(variables, x)
    expected = table[:5] if kind == "learned" else sinusoids(5, 4)
    np.testing.assert_allclose(whole, x + expected, rtol=1e-6, atol=1e-6)

    @jax.jit
    def piece(x, positions):
        return layer.apply(variables, x, positions, capacity=5)

    for positions in ([[0], [0]], [[3], [1]], [[0, 1], [3, 4]]):
        rows = np.arange(2)[:, None], np.array(positions)
        found = piece(x[rows], rows[1])
        np.testing.assert_allclose(found, whole[rows], rtol=1e-6, atol=1e-6)
    # Two vectors at one position.
    found = piece(x[:, :2], np.array([[4], [2]])) - x[:, :2]
    np.testing.assert_allclose(found[0], [expected[4]] * 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found[1], [expected[2]] * 2, rtol=1e-5, atol=1e-6)


def test_beyond_a_learned_table_its_last_vector_is_repeated(wave):
    table = jnp.float32(wave(3, 4))
    layer, variables = Positions("learned", max_positions=3), {"params": {"table": table}}
    expected = table[jnp.array([0, 1, 2, 2, 2])]
    np.testing.assert_array_equal(layer.apply(variables, jnp.zeros((1, 5, 4)))[0], expected)
    late = layer.apply(variables, jnp.zeros((1, 1, 4)), jnp.array([[4]]), capacity=5)
    np.testing.assert_array_equal(late[0], table[2:])


@pytest.mark.parametrize("kind", ["none", "relative", "rotary", "alibi"])
def test_other_kinds_add_nothing(kind, wave):
    x = wave(2, 5, 4)
    assert Positions(kind).apply({}, x) is x


def t5_bucket(relative_position, bidirectional, num_buckets=32, max_distance=128):
    """`_relative_position_bucket` of mesh_tensorflow/transformer, in plain Python."""
    ret = 0
    n = -relative_position
    if bidirectional:
        num_buckets //= 2
        ret += num_buckets if n < 0 else 0
        n = abs(n)
    else:
        n = max(n, 0)
    max_exact = num_buckets // 2
    if n < max_exact:
        return ret + n
    val_if_large = max_exact + int(
        math.log(n / max_exact) / math.log(max_distance / max_exact) * (num_buckets - max_exact)
    )
    return ret + min(val_if_large, num_buckets - 1)


@pytest.mark.parametrize("causal", [False, True])
def test_buckets_are_those_of_t5(causal):
    distances = np.arange(-300, 301)
    expected = [t5_bucket(int(distance), not causal) for distance in distances]
    assert relative_buckets(distances, causal).tolist() == expected
    assert jax.jit(relative_buckets, static_argnums=1)(distances, causal).tolist() == expected


def test_buckets_golden():
    """By hand: of 16 a side, 8 hold one distance; the next eight begin at 8 * 2^(k / 2)."""
    distances = np.array([0, -1, -7, -8, -11, -12, -15, -16, -31, -32, -90, -91, -128, -1000])
    buckets = [0, 1, 7, 8, 8, 9, 9, 10, 11, 12, 14, 15, 15, 15]
    assert relative_buckets(distances, causal=False).tolist() == buckets
    after = [0] + [16 + bucket for bucket in buckets[1:]]
    assert relative_buckets(-distances, causal=False).tolist() == after
    # One side only: 16 hold one distance; the next sixteen begin at 16 * 8^(k / 16).
    distances = np.array([5, 0, -15, -16, -18, -19, -20, -21, -32, -112, -113, -128, -1000])
    buckets = [0, 0, 15, 16, 16, 17, 17, 18, 21, 30, 31, 31, 31]
    assert relative_buckets(distances, causal=True).tolist() == buckets


def test_alibi_slopes_are_those_of_the_paper():
    assert alibi_slopes(8) == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]
    # Not a power of two: those of four heads, then the first, third, ... of eight.
    assert alibi_slopes(6) == [1 / 4, 1 / 16, 1 / 64, 1 / 256, 1 / 2, 1 / 8]
    assert alibi_slopes(1) == [1 / 256]
    assert alibi_slopes(12)[8:] == pytest.approx([2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5])


def relation(kind, queries, keys, causal=False, variables=None):
    layer = RelativePositions(kind, width=8, heads=2, causal=causal)
    return layer.apply(variables or {}, jnp.asarray(queries), jnp.asarray(keys))


def test_alibi_falls_with_the_distance_on_both_sides():
    bias = relation("alibi", range(3), range(4)).bias
    distances = np.array([[0, 1, 2, 3], [1, 0, 1, 2], [2, 1, 0, 1]])
    np.testing.assert_allclose(bias, [[-distances / 16, -distances / 256]], rtol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_relative_looks_its_table_up_for_each_head(causal, wave):
    table = wave(32, 2).astype(np.float32)
    bias = relation("relative", range(3), range(40), causal, {"params": {"table": table}}).bias
    assert bias.shape == (1, 2, 3, 40)
    for query in range(3):
        buckets = [t5_bucket(key - query, not causal) for key in range(40)]
        np.testing.assert_array_equal(bias[0, :, query], table[buckets].T)


def test_turned_products_depend_on_the_distance_only(wave):
    query, key = (jnp.asarray(wave(1, 2, 1, 4, seed=seed), jnp.float32) for seed in (0, 1))

    def products(distance):
        for start in (0, 7, 300):
            turned = [
                turn(x, relation("rotary", [position], [0]).angles)
                for x, position in ((query, start + distance), (key, start))
            ]
            yield np.einsum("bhtp,bhtp->h", *turned)

    first, *others = products(3)
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-4)
    assert np.abs(next(products(4)) - first).min() > 1e-3
    np.testing.assert_allclose(next(products(0)), np.einsum("bhtp,bhtp->h", query, key), rtol=1e-5)


def test_turns_by_the_angles_of_the_paper():
    """A head of four: pairs (0, 2) and (1, 3), frequencies 1 and 1/100."""
    angles = relation("rotary", [0, 1, 5], [0]).angles
    np.testing.assert_allclose(angles, [[0, 0], [1, 0.01], [5, 0.05]], rtol=1e-6)
    turned = turn(jnp.array([1.0, 1, 0, 0]), angles[2])
    expected = [math.cos(5), math.cos(0.05), math.sin(5), math.sin(0.05)]
    np.testing.assert_allclose(turned, expected, rtol=1e-5)
    # In bfloat16 only the result is rounded, where 301 would be 302.
    x, angles = jnp.array([1.0, 1, 0.5, 2], jnp.bfloat16), relation("rotary", [301], [0]).angles[0]
    expected = turn(x.astype(jnp.float32), angles).astype(jnp.bfloat16)
    np.testing.assert_array_equal(turn(x, angles), expected)
    assert turn(x, angles).dtype == jnp.bfloat16


@pytest.mark.parametrize("kind", ["relative", "rotary", "alibi"])
def test_queries_of_rows_at_traced_positions_have_their_part_of_the_relation(kind, wave):
    variables = {"params": {"table": jnp.float32(wave(32, 2))}} if kind == "relative" else {}
    keys = np.repeat(np.arange(5), 2)
    whole = relation(kind, range(5), keys, True, variables)

    @jax.jit
    def rows(positions):
        return relation(kind, positions, keys, True, variables)

    positions = np.array([[0], [3], [1], [4]])
    part = rows(positions)
    for row, position in enumerate(positions):
        if kind == "rotary":
            np.testing.assert_array_equal(part.angles[row], whole.angles[position])
        else:
            np.testing.assert_array_equal(part.bias[row], whole.bias[0][:, position])
    if kind == "rotary":
        x = jnp.float32(wave(4, 2, 1, 4, seed=3))
        for row, position in enumerate(positions):
            expected = turn(x[row : row + 1], whole.angles[position])[0]
            np.testing.assert_array_equal(turn(x, part.angles)[row], expected)


@pytest.mark.parametrize("kind", ["none", "sinusoidal", "learned"])
def test_absolute_kinds_have_no_relation(kind):
    assert relation(kind, range(3), range(3)) == NO_PAIRWISE
    assert turn("as it is", None) == "as it is"
