"""Attention of a decoder to the source.

    weights[t] = softmax over s of score(query[t], memory[s])
    context[t] = sum over s of weights[t, s] value[s]

Shape suffixes: B batch, T queries, S source, H heads, D width of queries, E width of the memory,
A inner width.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.layers.dense import Dense, matmul
from seqjax.layers.masked_softmax import masked_softmax
from seqjax.layers.multi_head_attention import MultiHeadAttention

# The collection that receives the attention weights on the source, if it is mutable.
SOURCE_ATTENTION = "source_attention"


def sow_weights(module: nn.Module, weights_BxHxTxS: jax.Array) -> None:
    """Stores a layer's weights on the source for `source_attention`, if they are collected."""
    if not module.is_initializing():
        module.sow(SOURCE_ATTENTION, "weights", weights_BxHxTxS)


class PreparedMemory(NamedTuple):
    """A memory prepared for an attention, once for a whole target.

    Attributes:
      keys: arrays [B, ...] that scores are computed from.
      values: the vectors that are averaged.
      mask: bool [B, S], true at real positions.
    """

    keys: Any
    values: jax.Array
    mask: jax.Array


class Attention(nn.Module):
    """The base class of all kinds, which differ in `_keys` and `_scores`.

    Attributes:
      width: size D of queries.
      inner: inner size A, for the kinds with a hidden layer.
      heads: number of heads, for 'multi_head' only.
      dtype: type of the computation; the softmax is float32.
    """

    width: int
    inner: int = 0
    heads: int = 1
    dtype: jnp.dtype = jnp.float32

    # Whether scores depend on the weights of the previous position.
    looks_back = False

    def prepare(
        self, states_BxSxE: jax.Array, values_BxSxE: jax.Array, mask_BxS: jax.Array
    ) -> PreparedMemory:
        """Returns the memory as `__call__` takes it."""
        return PreparedMemory(self._keys(states_BxSxE), values_BxSxE, mask_BxS)

    def __call__(
        self,
        query_BxTxD: jax.Array,
        memory: PreparedMemory,
        before_BxHxTxS: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Returns contexts [B, T, E] and weights [B, H, T, S].

        Args:
          query_BxTxD: vectors of target positions, or of hypotheses.
          memory: the result of `prepare`.
          before_BxHxTxS: the weights of the previous position if `looks_back`, zeros at the first.
        """
        scores_BxTxS = self._scores(query_BxTxD, memory.keys, before_BxHxTxS)
        weights = masked_softmax(scores_BxTxS, memory.mask[:, None], self.dtype)
        return _multiply("bts,bse->bte", weights, memory.values, self.dtype), weights[:, None]

    def _keys(self, states_BxSxE: jax.Array) -> Any:
        return states_BxSxE

    def _scores(self, query_BxTxD, keys, before) -> jax.Array:
        raise NotImplementedError


class DotAttention(Attention):
    """score = q . m (Luong et al., 2015); queries and memory have the same width."""

    def _scores(self, query_BxTxD, keys, before):
        return _multiply("btd,bsd->bts", query_BxTxD, keys, jnp.float32)


class ScaledDotAttention(DotAttention):
    """score = q . m / sqrt(D) (Vaswani et al., 2017, with one head and no projections)."""

    def _scores(self, query_BxTxD, keys, before):
        return super()._scores(query_BxTxD, keys, before) * self.width**-0.5


class GeneralAttention(DotAttention):
    """score = q^T W m (Luong et al., 2015), without a bias."""

    def setup(self):
        self.key = Dense(self.width, self.dtype, bias=False)

    def _keys(self, states_BxSxE):
        return self.key(states_BxSxE)


class AdditiveAttention(Attention):
    """score = v^T tanh(W q + U m + b) (Bahdanau et al., 2015, who have no b)."""

    def setup(self):
        self.query = Dense(self.inner, self.dtype, bias=False)
        self.key = Dense(self.inner, self.dtype)
        self.vector = self.param("vector", _vector, (self.inner,), jnp.float32)

    def _keys(self, states_BxSxE):
        return self.key(states_BxSxE)

    def _scores(self, query_BxTxD, keys, before):
        added = self.query(query_BxTxD)[:, :, None] + keys[:, None]
        return self._weigh(jnp.tanh(added))

    def _weigh(self, hidden_BxTxSxA):
        return matmul(hidden_BxTxSxA, self.vector, self.dtype, jnp.float32)


class NormalizedAdditiveAttention(AdditiveAttention):
    """score = g v^T / |v| tanh(W q + U m + b) (Salimans and Kingma, 2016, applied to v).

    The scale g starts at sqrt(1 / A), as in tensorflow/nmt.
    """

    def setup(self):
        super().setup()
        self.scale = self.param("scale", lambda key: jnp.asarray(self.inner**-0.5, jnp.float32))

    def _weigh(self, hidden_BxTxSxA):
        return super()._weigh(hidden_BxTxSxA) * self.scale / jnp.linalg.norm(self.vector)


class ConcatAttention(AdditiveAttention):
    """score = v^T tanh(W [q; m]) (Luong et al., 2015): additive attention without a bias."""

    def setup(self):
        self.query = Dense(self.inner, self.dtype, bias=False)
        self.key = Dense(self.inner, self.dtype, bias=False)
        self.vector = self.param("vector", _vector, (self.inner,), jnp.float32)


class LocationAttention(AdditiveAttention):
    """score = v^T tanh(W q + U m + L f + b),  f = F * a_(t-1) (Chorowski et al., 2015).

    F holds `filters` convolutions over the weights a_(t-1) of the previous position.

    Attributes:
      filters: number of convolutions.
      kernel: their size, an odd number; 15 is enough for text, frames of speech need more.
    """

    filters: int = 10
    kernel: int = 15

    looks_back = True

    def setup(self):
        super().setup()
        init = nn.initializers.xavier_uniform()
        self.filter = self.param("filter", init, (self.kernel, self.filters), jnp.float32)
        self.location = Dense(self.inner, self.dtype, bias=False)

    def _scores(self, query_BxTxD, keys, before_BxHxTxS):
        side = self.kernel // 2
        length = keys.shape[1]
        padded = jnp.pad(before_BxHxTxS[:, 0], ((0, 0), (0, 0), (side, side)))
        windows = jnp.stack([padded[..., i : i + length] for i in range(self.kernel)], axis=-1)
        features_BxTxSxF = matmul(windows, self.filter, self.dtype, self.dtype)
        added = self.query(query_BxTxD)[:, :, None] + keys[:, None]
        return self._weigh(jnp.tanh(added + self.location(features_BxTxSxF)))


class MultiHead(Attention):
    """`MultiHeadAttention` with the interface of `Attention`; its context has width D."""

    def setup(self):
        self.attention = MultiHeadAttention(self.width, self.heads, dtype=self.dtype)

    def prepare(self, states_BxSxE, values_BxSxE, mask_BxS):
        """Returns the memory as `__call__` takes it."""
        keys, values = self.attention.project_memory(states_BxSxE, values_BxSxE)
        return PreparedMemory(keys, values, mask_BxS)

    def __call__(self, query_BxTxD, memory, before_BxHxTxS=None):
        """Returns contexts [B, T, D] and weights [B, H, T, S]."""
        query = self.attention.project_query(query_BxTxD)
        mask = memory.mask[:, None, None]
        return self.attention.read(query, memory.keys, memory.values, mask)


# The names in `config.model.decoder.attention`.
ATTENTIONS = {
    "additive": AdditiveAttention,
    "additive_normalized": NormalizedAdditiveAttention,
    "dot": DotAttention,
    "scaled_dot": ScaledDotAttention,
    "general": GeneralAttention,
    "concat": ConcatAttention,
    "location": LocationAttention,
    "multi_head": MultiHead,
}


def _vector(key: jax.Array, shape: tuple[int], dtype: jnp.dtype) -> jax.Array:
    """Draws a vector with Glorot and Bengio's (2010) bound for a map to one number."""
    bound = (6 / (shape[0] + 1)) ** 0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def _multiply(equation: str, left: jax.Array, right: jax.Array, result: jnp.dtype) -> jax.Array:
    return jnp.einsum(equation, left, right, preferred_element_type=result)
