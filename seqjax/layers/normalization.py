"""Normalization of vectors, with torch's epsilon."""

import flax.linen as nn
import jax.numpy as jnp

# flax would take 1e-6.
NORM_EPSILON = 1e-5


def layer_norm(dtype: jnp.dtype, name: str | None = None) -> nn.LayerNorm:
    """Returns layer normalization (Ba et al., 2016) with statistics in float32."""
    return nn.LayerNorm(epsilon=NORM_EPSILON, dtype=dtype, name=name)
