import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqjax.layers.dropout import Dropout, hash_bits, rows_of_batch

ROWS, COLUMNS = 500, 400


def drop(x, rate, seed=0, deterministic=False):
    return Dropout(rate).apply({}, x, deterministic, rngs={"dropout": jax.random.key(seed)})


def mask(rate, seed):
    return np.asarray(drop(jnp.ones((ROWS, COLUMNS)), rate, seed)) > 0


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_drops_the_rate_and_keeps_the_mean(rate):
    y = np.asarray(drop(jnp.ones((ROWS, COLUMNS)), rate))
    kept = y != 0
    sigma = (rate * (1 - rate) / y.size) ** 0.5
    assert abs(kept.mean() - (1 - rate)) < 4 * sigma
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-6)
    assert abs(y.mean() - 1) < 4 * sigma / (1 - rate)
    # No row and no column is dropped more than others: variances of their shares are binomial.
    for axis, count in ((0, ROWS), (1, COLUMNS)):
        spread = kept.mean(axis).var() / (rate * (1 - rate) / count)
        assert 0.7 < spread < 1.3


def test_masks_of_different_keys_positions_and_lags_are_independent():
    masks = [mask(0.3, seed) for seed in range(6)]
    bound = 4.5 / (ROWS * COLUMNS) ** 0.5
    for first, second in itertools.combinations(masks, 2):
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < bound
    flat = masks[0].ravel()
    for lag in (1, 2, 4, 64, COLUMNS, 2 * COLUMNS, 256 * COLUMNS):
        assert abs(np.corrcoef(flat[lag:], flat[:-lag])[0, 1]) < 4.5 / (flat.size - lag) ** 0.5


def test_every_bit_is_fair_and_independent_of_the_others():
    bits = np.asarray(hash_bits(jax.random.key(3), (ROWS, COLUMNS)))
    planes = (bits.ravel()[:, None] >> np.arange(32, dtype=np.uint32) & 1).astype(np.float32)
    bound = 5 / planes.shape[0] ** 0.5
    assert np.abs(planes.mean(0) - 0.5).max() < bound / 2
    correlations = np.corrcoef(planes.T) - np.eye(32)
    assert np.abs(correlations).max() < bound
    # A bijection of the position: as long as positions fit in 32 bits, no value comes twice.
    assert len(np.unique(bits)) == bits.size


def test_the_mask_is_a_function_of_the_key():
    np.testing.assert_array_equal(mask(0.3, 5), mask(0.3, 5))
    assert (mask(0.3, 5) != mask(0.3, 6)).mean() > 0.3
    # A golden: a run that a later version resumes must go on with the same masks.
    key = jax.random.wrap_key_data(jnp.array([1, 2], jnp.uint32), impl="threefry2x32")
    assert hash_bits(key, (2, 3)).tolist() == [
        [2792066605, 1661745252, 2802636286],
        [130280326, 1116900294, 2420627530],
    ]


def test_some_rows_of_a_batch_have_the_masks_of_the_whole():
    x = jnp.ones((12, 5, 7))
    whole = np.asarray(drop(x, 0.4))

    @jax.jit
    def part(first):
        with rows_of_batch(first, 3):
            return drop(x[:4], 0.4)

    for first in range(3):
        np.testing.assert_array_equal(part(first), whole[first::3])
    # One mask for all positions of a row.
    shared = Dropout(0.4, shared=(1,))
    rngs = {"dropout": jax.random.key(0)}
    whole = np.asarray(shared.apply({}, x, False, rngs=rngs))
    with rows_of_batch(2, 3):
        found = shared.apply({}, x[:4], False, rngs=rngs)
    np.testing.assert_array_equal(found, whole[2::3])
    # Afterwards rows count from zero again.
    np.testing.assert_array_equal(shared.apply({}, x, False, rngs=rngs), whole)


@pytest.mark.parametrize("spec", [PartitionSpec("x"), PartitionSpec(None, "x")])
def test_the_mask_does_not_depend_on_how_an_array_is_divided(spec):
    x = jnp.arange(1.0, 16 * 24 + 1).reshape(16, 24)
    sharding = NamedSharding(Mesh(np.array(jax.devices()[:8]), "x"), spec)
    divided = jax.jit(lambda x: drop(x, 0.4), in_shardings=sharding, out_shardings=sharding)(x)
    assert len(divided.sharding.device_set) == 8
    np.testing.assert_array_equal(divided, jax.jit(lambda x: drop(x, 0.4))(x))


def test_the_gradient_is_the_mask_times_the_scale():
    x = jnp.sin(jnp.arange(60.0) ** 1.3).reshape(5, 12)
    weights = jnp.cos(jnp.arange(60.0) ** 1.3).reshape(5, 12)
    gradient = jax.grad(lambda x: jnp.sum(drop(x, 0.25) * weights))(x)
    kept = np.asarray(drop(jnp.ones_like(x), 0.25)) > 0
    np.testing.assert_allclose(gradient, kept * weights / 0.75, rtol=1e-6)


@pytest.mark.parametrize("rate, deterministic", [(0.0, False), (0.0, True), (0.5, True)])
def test_is_the_identity_without_a_rate_or_when_deterministic(rate, deterministic):
    x = jnp.arange(12.0).reshape(3, 4)
    # It asks for no key, either.
    np.testing.assert_array_equal(Dropout(rate).apply({}, x, deterministic), x)


def test_bfloat16_keeps_the_mean_and_the_type():
    """1 / 0.9 rounded to bfloat16 before multiplying would lower it by 0.2 percent."""
    x = jnp.asarray(np.linspace(1, 2, ROWS * COLUMNS), jnp.bfloat16)
    y = drop(x, 0.1)
    assert y.dtype == jnp.bfloat16
    y, x = np.asarray(y, np.float64), np.asarray(x, np.float64)
    kept = y != 0
    assert abs((y[kept] / x[kept]).mean() * 0.9 - 1) < 3e-4
