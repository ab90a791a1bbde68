"""Affine maps whose kernels have separate lengths and directions.

Shape suffixes: I inputs, O outputs.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.layers.dense import add_bias, intercepted, matmul


class NormalizedDense(nn.Module):
    """An affine map of the last axis with weight normalization (Salimans and Kingma, 2016).

        y_o = x . w_o + b_o,   w_o = g_o v_o / |v_o|

    The directions v are drawn from N(0, gain (1 - dropout) / I), which preserves the variance of
    the inputs (Gehring et al., 2017, section 3.5). The lengths g start at |v|, so that w starts at
    v.

    Attributes:
      features: number of outputs.
      gain: initial ratio of the variances of outputs and inputs: 4 before a gated linear unit,
        which reduces the variance to about a quarter.
      dropout: rate of the dropout on the inputs, which raises their variance.
      dtype: type of the computation; v, g, b and the norm are float32.
    """

    features: int
    gain: float = 1.0
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps [..., I] to [..., O]."""
        inputs = x.shape[-1]
        init = nn.initializers.normal((self.gain * (1 - self.dropout) / inputs) ** 0.5)
        kernel_IxO = self.param("kernel", init, (inputs, self.features), jnp.float32)
        norm_O = _lengths(kernel_IxO)
        scale_O = self.param("scale", lambda key: norm_O)
        bias_O = self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        if intercepted():
            # The parameter itself is multiplied, so that it is found.
            y = matmul(x, kernel_IxO, self.dtype, self.dtype)
            y = y * (scale_O / norm_O).astype(self.dtype)
        else:
            weights_IxO = kernel_IxO * (scale_O / norm_O)
            y = matmul(x, weights_IxO, self.dtype, self.dtype)
        return add_bias(y, bias_O)


def _lengths(kernel_IxO: jax.Array) -> jax.Array:
    """Returns the length of each column."""
    if not isinstance(kernel_IxO, jax.Array):
        # Quantized by another library, which multiplies it and does nothing else with it.
        unit_IxI = jnp.eye(kernel_IxO.shape[0])
        kernel_IxO = matmul(unit_IxI, kernel_IxO, jnp.float32, jnp.float32)
    return jnp.linalg.norm(kernel_IxO, axis=0)
