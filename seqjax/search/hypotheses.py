"""The result of a search, and how hypotheses of different lengths are compared.

Shape suffixes: B batch, N n-best, L longest output.
"""

import flax
import jax
import jax.numpy as jnp

from seqjax.errors import UserError

# Stands for the logarithm of zero. Unlike -inf it may be added and scaled without becoming NaN.
# The limits of float32 leave room for the sum of 10^8 of them.
LOWEST = -1e30


@flax.struct.dataclass
class Hypotheses:
    """The best outputs found for each sentence, best first.

    A place without a hypothesis has length 0 and only padding: all places of a sentence whose limit
    is 0 (scores 0), and the last places of one with fewer than N hypotheses (scores -1e30).

    Attributes:
      tokens: int32 [B, N, L], without BOS; ends with EOS, then PAD.
      scores: float32 [B, N], log probability over the norm of the length.
      log_probabilities: float32 [B, N], natural logarithm, EOS counted.
      lengths: int32 [B, N], EOS counted.
    """

    tokens: jax.Array
    scores: jax.Array
    log_probabilities: jax.Array
    lengths: jax.Array


def length_norms(normalization: str, penalty: float, max_length: int) -> jax.Array:
    """Returns the divisor of the log probability of a hypothesis of n tokens.

    'gnmt' ((5 + n) / 6)^a (Wu et al., 2016), 'plain' n^a, 'none' 1, where a is the penalty.
    A larger a favors longer outputs.

    Args:
      normalization: one of the three names.
      penalty: the exponent a, of any sign.
      max_length: the largest n.

    Returns:
      float32 [max_length + 1], indexed by n; no hypothesis has n = 0, its entry repeats n = 1.

    Raises:
      UserError: unknown normalization.
    """
    lengths = jnp.maximum(jnp.arange(max_length + 1, dtype=jnp.float32), 1.0)
    if normalization == "gnmt":
        return ((5 + lengths) / 6) ** penalty
    if normalization == "plain":
        return lengths**penalty
    if normalization == "none":
        return jnp.ones_like(lengths)
    raise UserError(
        f"decode.length_normalization = {normalization!r}: expected 'gnmt', 'plain' or 'none'"
    )
