"""The best tokens that may continue a hypothesis.

Shape suffixes: B batch, K hypotheses, V vocabulary, G blocks of the vocabulary, M preselected
tokens, C candidates.
"""

import jax
import jax.numpy as jnp

from seqjax.data.tokenizer import BOS, EOS, PAD, UNK
from seqjax.search.hypotheses import LOWEST

# Size of the blocks that preselect tokens; the first must contain PAD, BOS, EOS and UNK.
_BLOCK = 64


def best_continuations(
    logits_BxKxV: jax.Array,
    count: int,
    *,
    time: jax.Array,
    limits_B: jax.Array,
    min_length: int | jax.Array,
    unknown: bool = True,
) -> tuple[jax.Array, jax.Array]:
    """Returns log probabilities and tokens of the best continuations of each hypothesis.

    PAD and BOS are never allowed, UNK only if `unknown`, EOS only after `min_length` other tokens,
    and at the limit EOS alone. Probabilities are not renormalized: tokens that are not allowed keep
    their share. The log probability of an impossible token is about -1e30, of one that is not
    allowed -2e30.

    Args:
      logits_BxKxV: logits of the tokens at position `time`.
      count: number C of continuations, or the size of the vocabulary if that is smaller.
      time: int32 [], number of tokens of the hypotheses so far.
      limits_B: int32 [B], largest number of tokens of an output, with EOS.
      min_length: smallest number of tokens of an output, without EOS.
      unknown: whether UNK may be an output.

    Returns:
      float32 and int32 [B, K, C], best first, ties in order of tokens.
    """
    tokens_BxKxM, logits_BxKxM = _preselect(logits_BxKxV, count)
    last_Bx1x1 = (time + 1 >= limits_B)[:, None, None]
    allowed = allowed_tokens(tokens_BxKxM, time, last_Bx1x1, min_length, unknown)
    logits_BxKxM = jnp.where(allowed, jnp.maximum(logits_BxKxM, LOWEST), 2 * LOWEST)
    best, places = jax.lax.top_k(logits_BxKxM, min(count, tokens_BxKxM.shape[-1]))
    tokens = jnp.take_along_axis(tokens_BxKxM, places, axis=-1)
    # Only the survivors are normalized: the log probabilities of all tokens are never stored.
    return best - jax.nn.logsumexp(logits_BxKxV, axis=-1, keepdims=True), tokens


def allowed_tokens(
    tokens: jax.Array,
    time: jax.Array,
    last: jax.Array | bool,
    min_length: int | jax.Array,
    unknown: bool,
) -> jax.Array:
    """Returns which tokens may stand at position `time`; where `last` is true only EOS may."""
    is_end = tokens == EOS
    is_word = (tokens != PAD) & (tokens != BOS) & ~is_end
    if not unknown:
        is_word &= tokens != UNK
    return (is_word & ~last) | (is_end & ((time >= min_length) | last))


def _preselect(logits_BxKxV, count):
    """Returns a few tokens, ascending, and their logits; the `count` best allowed are among them.

    The maximum of each block takes one cheap pass over the logits; a sort or a top-k costs several
    times as much. The best tokens are in the `count` best blocks. The block with the special tokens
    and the tokens after the last whole block are always included.
    """
    vocabulary = logits_BxKxV.shape[-1]
    blocks, leftover = divmod(vocabulary, _BLOCK)
    if blocks <= 2 * (count + 1):
        tokens_V = jnp.arange(vocabulary, dtype=jnp.int32)
        return jnp.broadcast_to(tokens_V, logits_BxKxV.shape), logits_BxKxV
    shape = logits_BxKxV.shape[:-1]
    whole = logits_BxKxV[..., : blocks * _BLOCK].reshape(*shape, blocks, _BLOCK)
    best_BxKxG = whole.max(axis=-1).at[..., 0].set(jnp.inf)
    _, chosen = jax.lax.top_k(best_BxKxG, count + 1)
    starts = jnp.sort(chosen, axis=-1)[..., None] * _BLOCK
    tokens = (starts + jnp.arange(_BLOCK, dtype=jnp.int32)).reshape(*shape, -1)
    end = jnp.arange(vocabulary - leftover, vocabulary, dtype=jnp.int32)
    tokens_BxKxM = jnp.concatenate([tokens, jnp.broadcast_to(end, (*shape, leftover))], axis=-1)
    return tokens_BxKxM, jnp.take_along_axis(logits_BxKxV, tokens_BxKxM, axis=-1)
