import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.layers.dense import Dense, add_bias, matmul, together

# Narrower inputs, narrower outputs, several axes of outputs, one vector, no rows.
SHAPES = [
    ((2, 3, 4), (4, 7)),
    ((5, 6), (6, 2)),
    ((2, 3, 4), (4, 3, 5)),
    ((4,), (4, 5)),
    ((0, 4), (4, 5)),
]


@pytest.mark.parametrize("shape, kernel_shape", SHAPES)
def test_product_and_both_gradients_equal_plain_numpy(shape, kernel_shape, wave):
    x, kernel = wave(*shape).astype(np.float32), wave(*kernel_shape, seed=1).astype(np.float32)
    result, gradients = jax.vjp(lambda *both: matmul(*both, jnp.float32, jnp.float32), x, kernel)
    np.testing.assert_allclose(result, np.tensordot(x, kernel, axes=1), rtol=1e-5, atol=1e-6)
    cotangent = wave(*result.shape, seed=2).astype(np.float32)
    x_gradient, kernel_gradient = gradients(jnp.asarray(cotangent))
    rows, outputs = tuple(range(x.ndim - 1)), tuple(range(x.ndim - 1, cotangent.ndim))
    expected = np.tensordot(cotangent, kernel, axes=(outputs, tuple(range(1, kernel.ndim))))
    np.testing.assert_allclose(x_gradient, expected, rtol=1e-5, atol=1e-5)
    expected = np.tensordot(x, cotangent, axes=(rows, rows))
    np.testing.assert_allclose(kernel_gradient, expected, rtol=1e-5, atol=1e-5)


def test_bfloat16_products_for_the_kernel_are_summed_in_float32():
    """One gradient of 1 and 255 of 2^-9: in bfloat16 the sum would stay at 1."""
    x = jnp.ones((256, 1), jnp.bfloat16)
    kernel = jnp.ones((1, 1), jnp.float32)
    cotangent = jnp.full((256, 1), 2.0**-9, jnp.bfloat16).at[0].set(1.0)
    result, gradients = jax.vjp(lambda *both: matmul(*both, jnp.bfloat16, jnp.bfloat16), x, kernel)
    assert result.dtype == jnp.bfloat16
    x_gradient, kernel_gradient = gradients(cotangent)
    assert x_gradient.dtype == jnp.bfloat16
    assert kernel_gradient.dtype == jnp.float32
    np.testing.assert_allclose(kernel_gradient, 1 + 255 / 512, rtol=1e-6)


def test_the_gradient_of_a_bias_is_summed_in_float32():
    y, bias = jnp.ones((128, 2, 1), jnp.bfloat16), jnp.ones(1, jnp.float32)
    cotangent = jnp.full((128, 2, 1), 2.0**-9, jnp.bfloat16).at[0, 0].set(1.0)
    result, gradients = jax.vjp(add_bias, y, bias)
    y_gradient, bias_gradient = gradients(cotangent)
    assert result.dtype == y_gradient.dtype == jnp.bfloat16
    assert bias_gradient.dtype == jnp.float32
    np.testing.assert_array_equal(y_gradient, cotangent)
    np.testing.assert_allclose(bias_gradient, [1 + 255 / 512], rtol=1e-6)


def test_gradients_under_vmap_are_those_of_each_member(wave):
    x, kernels = wave(3, 4).astype(np.float32), wave(2, 4, 5, seed=1).astype(np.float32)

    def loss(kernel):
        return jnp.sum(jnp.sin(matmul(x, kernel, jnp.float32, jnp.float32)))

    both = jax.vmap(jax.grad(loss))(kernels)
    for member, kernel in zip(both, kernels, strict=True):
        np.testing.assert_allclose(member, jax.grad(loss)(kernel), rtol=1e-5, atol=1e-6)


def test_dense_and_maps_together_are_affine(filled, reference, wave):
    class Maps(nn.Module):
        def setup(self):
            self.a, self.b = Dense(5), Dense(5)

        def __call__(self, x):
            return self.a(x), self.b(x), together((self.a, self.b), x)

    x = wave(2, 3, 4).astype(np.float32)
    params = filled(jax.eval_shape(Maps().init, jax.random.key(0), x)["params"])
    a, b, both = Maps().apply({"params": params}, x)
    for index, (name, one) in enumerate((("a", a), ("b", b))):
        np.testing.assert_allclose(one, reference.dense(params[name], x), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(both[:, :, index], one, rtol=1e-5, atol=1e-6)


def test_the_result_may_have_other_numbers_than_the_computation(wave):
    layer = Dense(5, jnp.bfloat16, result=jnp.float32)
    x = wave(3, 4).astype(np.float32)
    output, variables = layer.init_with_output(jax.random.key(0), x)
    assert output.dtype == jnp.float32
    assert variables["params"]["kernel"].dtype == jnp.float32
    assert Dense(5, jnp.bfloat16).apply(variables, x).dtype == jnp.bfloat16
