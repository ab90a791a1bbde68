"""Attention weights from scores."""

import jax
import jax.numpy as jnp

# Far below any real score, yet finite: if all is masked, weights are uniform instead of NaN.
MASKED = -1e9


def masked_softmax(scores: jax.Array, mask: jax.Array, dtype: jnp.dtype) -> jax.Array:
    """Returns weights over the last axis of float32 scores, zero where the mask is false.

    The mask is broadcast to the scores; the softmax is computed in float32.
    """
    return jax.nn.softmax(jnp.where(mask, scores, MASKED), axis=-1).astype(dtype)
