import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.layers.normalization import NORMS


def test_layer_norm_equals_plain_numpy(wave, reference):
    x = 3 + wave(2, 5, 8)
    params = {"scale": 1 + wave(8, seed=1), "bias": wave(8, seed=2)}
    output = NORMS["layer"](jnp.float32).apply({"params": params}, x.astype(np.float32))
    np.testing.assert_allclose(output, reference.norm(params, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mean", [10, 1000])
def test_layer_norm_of_what_lies_far_from_zero(mean, wave):
    x = (mean + wave(5, 256)).astype(np.float32)
    params = {"scale": np.ones(256, np.float32), "bias": np.zeros(256, np.float32)}
    output = NORMS["layer"](jnp.float32).apply({"params": params}, x)
    wide = x.astype(np.float64)
    centered = wide - wide.mean(-1, keepdims=True)
    expected = centered / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    # As near as a mean of float32 numbers is.
    np.testing.assert_allclose(output, expected, rtol=0, atol=3e-7 * mean)


@pytest.mark.parametrize("size", [1, 1e-3])  # Squares of the smaller are no larger than epsilon.
def test_rms_norm_equals_plain_numpy(size, wave):
    x, scale = size * (3 + wave(2, 5, 8)), 1 + wave(8, seed=1)
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * scale
    variables = {"params": {"scale": scale}}
    output = NORMS["rms"](jnp.float32).apply(variables, x.astype(np.float32))
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", NORMS)
def test_only_the_result_is_rounded_to_bfloat16(kind, wave):
    x = jnp.asarray(3 + wave(20, 64), jnp.bfloat16)
    params = {"scale": 1 + wave(64, seed=1)} | ({"bias": wave(64)} if kind == "layer" else {})
    output = NORMS[kind](jnp.bfloat16).apply({"params": params}, x)
    expected = NORMS[kind](jnp.float32).apply({"params": params}, x.astype(jnp.float32))
    np.testing.assert_array_equal(output, expected.astype(jnp.bfloat16))
