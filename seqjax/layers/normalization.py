"""Normalization of vectors, with statistics in float32."""

import flax.linen as nn
import jax.numpy as jnp

# The default of torch; flax has 1e-6.
NORM_EPSILON = 1e-5


def layer_norm(dtype: jnp.dtype, name: str | None = None) -> nn.LayerNorm:
    """Returns layer normalization (Ba et al., 2016).

    y = (x - mean(x)) / sqrt(variance(x) + 1e-5) * scale + bias
    """
    # Flax's fast variance, mean(x^2) - mean(x)^2, loses its digits if the mean is large.
    return nn.LayerNorm(epsilon=NORM_EPSILON, dtype=dtype, use_fast_variance=False, name=name)


def rms_norm(dtype: jnp.dtype, name: str | None = None) -> nn.RMSNorm:
    """Returns root mean square normalization (Zhang and Sennrich, 2019).

    y = x / sqrt(mean(x^2) + 1e-6) * scale
    """
    return nn.RMSNorm(epsilon=1e-6, dtype=dtype, name=name)


# The names in `config.model.encoder.norm`.
NORMS = {"layer": layer_norm, "rms": rms_norm}
