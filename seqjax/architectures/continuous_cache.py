"""A continuous cache: a language model's own recent past as part of its distribution.

Shape suffixes: B batch, T positions, N entries of the cache, R width of vectors, V vocabulary.
"""

import functools
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.architectures.contract import PyTree
from seqjax.data.tokenizer import PAD


class Cache(NamedTuple):
    """The last N positions of each row, the latest last.

    Attributes:
      vectors: float [B, N, R], what the model predicted a token from; for an ensemble a tree with
        those of each member.
      tokens: int32 [B, N], the token that came; PAD for no position.
    """

    vectors: PyTree
    tokens: jax.Array

    @classmethod
    def empty(cls, rows: int, entries: int, widths: PyTree) -> "Cache":
        """Returns a cache of no positions, for vectors of a width; of several for an ensemble."""
        tokens = jnp.full((rows, entries), PAD, jnp.int32)
        return cls(jax.tree.map(lambda width: jnp.zeros((rows, entries, width)), widths), tokens)


class WithCache(NamedTuple):
    """The carry of a language model with that of its cache."""

    own: Any
    cache: Cache

    @classmethod
    def of(cls, model: nn.Module, own: Any, rows: int, entries: int) -> "WithCache":
        """Returns the carry of a model before the first token, with an empty cache."""
        token = jnp.full((1, 1), PAD, jnp.int32)
        read = functools.partial(model.init_with_output, method="read")
        (vectors, _), _ = jax.eval_shape(read, jax.random.key(0), token)
        widths = jax.tree.map(lambda each: each.shape[-1], vectors)
        return cls(own, Cache.empty(rows, entries, widths))


def without(cache: Cache, rows_B: jax.Array | None) -> Cache:
    """Returns a cache that is empty in the rows that are true, if any are given."""
    if rows_B is None:
        return cache
    return cache._replace(tokens=jnp.where(rows_B[:, None], PAD, cache.tokens))


def mixed(
    logits_BxTxV: jax.Array,
    vectors: PyTree,
    targets_BxT: jax.Array,
    cache: Cache,
    share: float,
    flatness: float,
) -> tuple[jax.Array, Cache]:
    """Returns log probabilities [B, T, V] of model and cache together, and the next cache.

        p(w) = (1 - share) p_model(w) + share p_cache(w)
        p_cache(w) ~ sum over the last N positions i with x_i = w of exp(flatness h_t . h_i)

    h_i is the vector that x_i was predicted from. Before the first position the model is alone. PAD
    among the targets is no position (Grave et al., Improving neural language models with a
    continuous cache, 2017). With an ensemble `vectors` is a tree of arrays [B, T, R], and p_cache
    the mean over its members, so that p is the mean of what each member has with its own cache.
    """
    entries, length = cache.tokens.shape[1], targets_BxT.shape[1]
    vectors = jax.tree.map(lambda each: each.astype(jnp.float32), vectors)
    known = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), cache.vectors, vectors)
    tokens_BxM = jnp.concatenate([cache.tokens, targets_BxT], axis=1)
    # Position t sees entries t to t + N - 1: those just before it.
    offset_TxM = jnp.arange(entries + length) - jnp.arange(length)[:, None]
    seen_TxM = (offset_TxM >= 0) & (offset_TxM < entries)
    seen_BxTxM = seen_TxM & (tokens_BxM != PAD)[:, None]

    def likeness(vectors_BxTxR, known_BxMxR):
        scores = flatness * jnp.einsum("btr,bmr->btm", vectors_BxTxR, known_BxMxR)
        return jax.nn.softmax(jnp.where(seen_BxTxM, scores, -jnp.inf), axis=-1, where=seen_BxTxM)

    each = jax.tree.leaves(jax.tree.map(likeness, vectors, known))
    weights = sum(each) / len(each)
    some_BxTx1 = seen_BxTxM.any(axis=-1, keepdims=True)
    share_BxTx1 = jnp.where(some_BxTx1, share, 0.0)
    rows, places = jnp.arange(len(targets_BxT))[:, None, None], jnp.arange(length)[:, None]
    added = share_BxTx1 * jnp.where(seen_BxTxM, weights, 0.0)
    model = (1 - share_BxTx1) * jax.nn.softmax(logits_BxTxV)
    both = model.at[rows, places, tokens_BxM[:, None]].add(added)
    last = jax.tree.map(lambda each: each[:, length:], known)
    following = Cache(last, tokens_BxM[:, length:])
    return jnp.log(both), following
