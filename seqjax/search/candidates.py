"""Which tokens may continue a hypothesis, and which of them are best.

Shape suffixes: B batch, K hypotheses, V vocabulary.
"""

import jax
import jax.numpy as jnp

from seqjax.data.tokenizer import BOS, EOS, PAD
from seqjax.search.hypotheses import LOWEST


def allowed_tokens(
    time: jax.Array, limits_B: jax.Array, min_length: int, vocabulary: int
) -> jax.Array:
    """Returns a bool mask [B, V] of the tokens that may be at position `time`.

    PAD and BOS never, EOS not before `min_length` other tokens, and nothing but EOS at the last
    position that the sentence's limit leaves.
    """
    tokens_V = jnp.arange(vocabulary)
    open_V = (tokens_V != PAD) & (tokens_V != BOS) & ((tokens_V != EOS) | (time >= min_length))
    last_Bx1 = (time + 1 >= limits_B)[:, None]
    return jnp.where(last_Bx1, tokens_V == EOS, open_V)


def best_continuations(
    logits_BxKxV: jax.Array, allowed_BxV: jax.Array, count: int
) -> tuple[jax.Array, jax.Array]:
    """Returns log probabilities and tokens of the best continuations of each hypothesis.

    The probabilities are the model's: tokens that are not allowed keep their share. What is
    not allowed, or impossible, has a log probability of about -1e30.

    Returns:
      float32 and int32 [B, K, min(count, V)], best first, equal ones by token.
    """
    logits_BxKxV = jnp.maximum(logits_BxKxV.astype(jnp.float32), LOWEST)
    vocabulary = logits_BxKxV.shape[-1]
    # Only the survivors are normalized: log-probabilities of all tokens are never stored.
    masked_BxKxV = jnp.where(allowed_BxV[:, None], logits_BxKxV, LOWEST)
    best, tokens = jax.lax.top_k(masked_BxKxV, min(count, vocabulary))
    return best - jax.nn.logsumexp(logits_BxKxV, axis=-1, keepdims=True), tokens
