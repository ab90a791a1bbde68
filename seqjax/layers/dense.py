"""Affine maps whose weight gradient is fast on a CPU, too.

Libraries for low-rank adaptation and quantization replace `jax.lax.dot_general` while a model is
traced, and look for a module's parameters among its arguments. The rule for the gradient hides
them; it steps aside for such a library (`intercepted`).

Shape suffixes: I inputs, O outputs (one axis or several).
"""

import functools
import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dense(nn.Module):
    """An affine map of the last axis, y = x W + b, or a linear one, y = x W.

    Attributes:
      features: number of outputs.
      dtype: type of the computation; W and b are float32.
      result: type of the result, by default `dtype`.
      bias: whether there is a b.
      bias_init: initializer of b, zeros by default.
    """

    features: int
    dtype: jnp.dtype = jnp.float32
    result: jnp.dtype | None = None
    bias: bool = True
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def weights(self, inputs: int) -> tuple[jax.Array, jax.Array | None]:
        """Returns W [I, O] and b [O], or None without a bias, for a number of inputs."""
        init = nn.initializers.xavier_uniform()
        kernel = self.param("kernel", init, (inputs, self.features), jnp.float32)
        if not self.bias:
            return kernel, None
        return kernel, self.param("bias", self.bias_init, (self.features,), jnp.float32)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., I] to [..., O]."""
        _, bias = self.weights(x.shape[-1])
        y = self.multiply(x)
        return y if bias is None else add_bias(y, bias)

    def multiply(self, x: jax.Array) -> jax.Array:
        """Returns x W without the bias."""
        kernel, _ = self.weights(x.shape[-1])
        return matmul(x, kernel, self.dtype, self.result or self.dtype)


def together(layers: Sequence[Dense], x: jax.Array) -> jax.Array:
    """Applies n affine maps with O outputs each to one input, [..., I] to [..., n, O].

    One large product is faster than several small ones. The maps have a separate axis, so that
    outputs that are sharded over devices stay sharded.
    """
    if intercepted():
        return jnp.stack([layer(x) for layer in layers], axis=-2)
    kernels, biases = zip(*(layer.weights(x.shape[-1]) for layer in layers), strict=True)
    dtype = layers[0].dtype
    return add_bias(matmul(x, jnp.stack(kernels, axis=1), dtype, dtype), jnp.stack(biases))


_DOT_GENERAL = (jax.lax.dot_general, jax.lax.dot_general.__code__)


def intercepted() -> bool:
    """Returns whether a library has replaced `jax.lax.dot_general`, or its code as qwix does."""
    return (jax.lax.dot_general, jax.lax.dot_general.__code__) != _DOT_GENERAL


def matmul(x: jax.Array, kernel: jax.Array, dtype: jnp.dtype, result: jnp.dtype) -> jax.Array:
    """Multiplies x [..., I] with a kernel [I, O...] in `dtype`; returns [..., O...] as `result`.

    Derivatives are products in `dtype`, too; the kernel's is summed in float32.
    """
    if not intercepted():
        return _product(x, kernel, dtype, result)
    if kernel.ndim == 1:
        # A vector is not for them: it is not a matrix to be adapted or quantized.
        return jnp.sum(x.astype(dtype) * kernel.astype(dtype), axis=-1, dtype=result)
    # The result of other products may have another type.
    return _dot(x, kernel, dtype, result).astype(result)


def _dot(x, kernel, dtype, result):
    contract = (((x.ndim - 1,), (0,)), ((), ()))
    # A quantized kernel is no array and has no other type.
    kernel = kernel.astype(dtype) if isinstance(kernel, jax.Array) else kernel
    return jax.lax.dot_general(x.astype(dtype), kernel, contract, preferred_element_type=result)


_product = jax.custom_vjp(_dot, nondiff_argnums=(2, 3))


def _forward(x, kernel, dtype, result):
    return _product(x, kernel, dtype, result), (x, kernel)


def _backward(dtype, result, kept, gradient):
    x, kernel = kept
    gradient = gradient.astype(dtype)
    outputs = tuple(range(1, kernel.ndim))
    last = tuple(range(x.ndim - 1, gradient.ndim))
    x_gradient = jax.lax.dot_general(
        gradient, kernel.astype(dtype), ((last, outputs), ((), ())), preferred_element_type=x.dtype
    )
    rows = math.prod(x.shape[:-1])
    x = x.astype(dtype).reshape(rows, kernel.shape[0])
    gradient = gradient.reshape(rows, math.prod(kernel.shape[1:]))
    return x_gradient, kernel_gradient(x, gradient).reshape(kernel.shape).astype(kernel.dtype)


def kernel_gradient(x_NxI: jax.Array, gradient_NxO: jax.Array) -> jax.Array:
    """Returns a kernel's gradient x^T g, float32 [I, O], given the gradient g of its products."""
    return jax.lax.platform_dependent(
        x_NxI, gradient_NxO, cpu=_transposed, default=functools.partial(_multiply, contract=0)
    )


def _transposed(x_NxI, gradient_NxO):
    """Transposes the narrower factor first: on a CPU XLA's fast products are rows times columns.

    The barriers keep XLA from fusing transposition and product again, and from computing a factor
    once more while it is transposed: that of a residual sum would be all that was added up.
    """
    barrier = jax.lax.optimization_barrier
    x_NxI, gradient_NxO = barrier((x_NxI, gradient_NxO))
    if x_NxI.shape[1] <= gradient_NxO.shape[1]:
        return barrier(_multiply(barrier(x_NxI.T), gradient_NxO, contract=1))
    return barrier(_multiply(barrier(gradient_NxO.T), x_NxI, contract=1)).T


def _multiply(left, right, contract):
    axes = (((contract,), (0,)), ((), ()))
    return jax.lax.dot_general(left, right, axes, preferred_element_type=jnp.float32)


_product.defvjp(_forward, _backward)


@jax.custom_vjp
def add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    """Adds b [O...] to y [..., O...] in the type of y; the gradient of b is summed in float32."""
    return y + bias.astype(y.dtype)


def _add_forward(y, bias):
    return add_bias(y, bias), bias


def _add_backward(bias, gradient):
    rows = tuple(range(gradient.ndim - bias.ndim))
    return gradient, jnp.sum(gradient, rows, dtype=jnp.float32).astype(bias.dtype)


add_bias.defvjp(_add_forward, _add_backward)
