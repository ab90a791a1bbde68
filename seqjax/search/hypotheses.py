"""The result of a search, and the length norms that scores are divided by.

Shape suffixes: B batch, N n-best, L longest output.
"""

import flax
import jax
import jax.numpy as jnp

from seqjax.errors import UserError

# Replaces log 0. Unlike -inf it can be added and scaled without becoming NaN; float32 has room for
# the sum of 10^8 of them.
LOWEST = -1e30


@flax.struct.dataclass
class Hypotheses:
    """The best outputs found for each sentence, best first.

    A place without a hypothesis has length 0 and only padding. These are all places of a sentence
    with limit 0 (score 0), and the last places of one with fewer than N hypotheses (score -1e30).

    Attributes:
      tokens: int32 [B, N, L], without BOS; ends with EOS, then PAD.
      scores: float32 [B, N], log probability divided by the length norm.
      log_probabilities: float32 [B, N], natural logarithms, with EOS.
      lengths: int32 [B, N], with EOS.
    """

    tokens: jax.Array
    scores: jax.Array
    log_probabilities: jax.Array
    lengths: jax.Array


def length_norms(normalization: str, penalty: float, max_length: int) -> jax.Array:
    """Returns the divisors of the log probability of hypotheses of n tokens.

        gnmt   ((5 + n) / 6)^a      (Wu et al., 2016)
        plain  n^a
        none   1

    A larger penalty a favors longer outputs.

    Args:
      normalization: one of the three names.
      penalty: the exponent a, of any sign.
      max_length: the largest n.

    Returns:
      float32 [max_length + 1], indexed by n; the unused entry n = 0 repeats n = 1.

    Raises:
      UserError: the normalization is unknown.
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
