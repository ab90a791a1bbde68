import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.layers.weight_normalization import NormalizedDense


def test_each_output_has_its_length_and_the_direction_of_its_kernel(wave):
    kernel, scale, bias = wave(4, 3), np.array([2.0, -0.5, 1.0]), wave(3, seed=2)
    params = {"kernel": kernel, "scale": scale, "bias": bias}
    x = wave(2, 5, 4, seed=1).astype(np.float32)
    result = NormalizedDense(3).apply({"params": params}, x)
    weights = scale * kernel / np.sqrt((kernel**2).sum(0))
    np.testing.assert_allclose(result, x @ weights + bias, rtol=1e-5, atol=1e-6)
    # A longer kernel changes nothing.
    longer = NormalizedDense(3).apply({"params": params | {"kernel": 7 * kernel}}, x)
    np.testing.assert_allclose(longer, result, rtol=1e-5, atol=1e-6)


def test_the_gradient_of_a_direction_is_orthogonal_to_it(wave):
    params = {"kernel": wave(4, 3), "scale": np.ones(3), "bias": np.zeros(3)}
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
    x = wave(2, 4, seed=1).astype(np.float32)
    gradient = jax.grad(lambda p: jnp.sum(jnp.sin(NormalizedDense(3).apply({"params": p}, x))))
    kernel_gradient = jax.jit(gradient)(params)["kernel"]
    assert np.abs(kernel_gradient).max() > 0.1
    np.testing.assert_allclose(np.sum(kernel_gradient * params["kernel"], axis=0), 0, atol=1e-6)


@pytest.mark.parametrize("gain, dropout", [(1.0, 0.0), (4.0, 0.5)])
def test_it_starts_as_an_ordinary_map_that_keeps_variances(gain, dropout):
    layer = NormalizedDense(300, gain, dropout)
    x = np.random.RandomState(0).standard_normal((50, 200)).astype(np.float32)
    result, variables = layer.init_with_output(jax.random.key(0), x)
    params = variables["params"]
    np.testing.assert_allclose(result, x @ params["kernel"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.var(result), gain * (1 - dropout), rtol=0.05)
    assert not np.any(params["bias"])


def test_bfloat16_computes_near_float32_and_keeps_parameters(wave):
    x = wave(2, 4).astype(np.float32)
    variables = NormalizedDense(3, dtype=jnp.bfloat16).init(jax.random.key(0), x)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    result = NormalizedDense(3, dtype=jnp.bfloat16).apply(variables, x)
    assert result.dtype == jnp.bfloat16
    full = NormalizedDense(3).apply(variables, x)
    np.testing.assert_allclose(result.astype(np.float32), full, rtol=0.02, atol=0.02)
