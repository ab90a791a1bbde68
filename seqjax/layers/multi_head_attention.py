"""Attention in several subspaces at once.

Shape suffixes: B batch, T queries, S source, H query heads in N groups, each group with one head of
keys and values, G = H / N heads of a group, K hypotheses, D width, E width of the memory, P width
of a head.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.layers.dense import Dense, together
from seqjax.layers.dropout import Dropout
from seqjax.layers.masked_softmax import masked_softmax
from seqjax.layers.positions import NO_PAIRWISE, PairwisePositions, turn


def causal_mask(length: int) -> jax.Array:
    """Returns bool [1, 1, T, T], true where a position may attend: to itself and the past."""
    return jnp.tril(jnp.ones((length, length), bool))[None, None]


def window_mask(queries: jax.Array, keys_S: jax.Array, window: int) -> jax.Array:
    """Returns bool [..., T, S], true where keys are at most `window` positions away.

    Args:
      queries: positions of the queries, [T] or, if rows differ, [B, T].
      keys_S: positions of the keys.
      window: largest distance.
    """
    return jnp.abs(keys_S - queries[..., None]) <= window


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention in several subspaces (Vaswani et al., 2017, section 3.2).

        head_h = softmax(Q_h K_h^T / sqrt(P)) V_h,   Q_h = q W^Q_h, K_h = m W^K_h, V_h = m W^V_h
        output = [head_1, ..., head_H] W^O

    The softmax is computed in float32. The G neighbouring heads of a group share K and V (Ainslie
    et al., 2023); with N = 1 all heads share them (Shazeer, 2019).

    Attributes:
      width: size D of queries and outputs.
      heads: number H of heads, each with width P = D / H.
      key_value_heads: number N of groups, a divisor of H; 0 stands for N = H.
      dropout: rate on the attention weights.
      dtype: type of the computation.
    """

    width: int
    heads: int
    key_value_heads: int = 0
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        narrow = self.width // self.heads * (self.key_value_heads or self.heads)
        self.query, self.key, self.value, self.output = (
            Dense(size, self.dtype) for size in (self.width, narrow, narrow, self.width)
        )
        self.drop = Dropout(self.dropout)

    def __call__(
        self,
        query_BxTxD: jax.Array,
        memory_BxSxE: jax.Array,
        mask: jax.Array,
        deterministic: bool = True,
        relation: PairwisePositions = NO_PAIRWISE,
    ) -> jax.Array:
        """Attends to the memory from every query; mask is bool, broadcast to [B, H, T, S]."""
        query = turn(self.project_query(query_BxTxD), relation.angles)
        keys, values = self.project_memory(memory_BxSxE)
        keys = turn(keys, relation.angles)
        return self.read(query, keys, values, mask, deterministic, relation.bias)[0]

    def project_query(self, query_BxTxD: jax.Array) -> jax.Array:
        """Returns the queries [B, H, T, P]."""
        return self._split(self.query(query_BxTxD))

    def project_memory(
        self, memory_BxSxE: jax.Array, values_BxSxE: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the keys and values [B, N, S, P] of a memory, to be used many times.

        Args:
          memory_BxSxE: vectors that keys are computed from.
          values_BxSxE: vectors that values are computed from, by default the same.
        """
        values_BxSxE = memory_BxSxE if values_BxSxE is None else values_BxSxE
        return self._split(self.key(memory_BxSxE)), self._split(self.value(values_BxSxE))

    def project_own(
        self, x_BxKxD: jax.Array, relation: PairwisePositions = NO_PAIRWISE
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns queries [B, H, K, P], keys and values [B, N, K, P] of a few positions."""
        if self.key.features == self.width:
            projected = together((self.query, self.key, self.value), x_BxKxD)
            query, key, value = (self._split(projected[:, :, i]) for i in range(3))
        else:
            query = self.project_query(x_BxKxD)
            projected = together((self.key, self.value), x_BxKxD)
            key, value = (self._split(projected[:, :, i]) for i in range(2))
        return turn(query, relation.angles), turn(key, relation.angles), value

    def read(
        self,
        query_BxHxTxP: jax.Array,
        keys_BxNxSxP: jax.Array,
        values_BxNxSxP: jax.Array,
        mask: jax.Array,
        deterministic: bool = True,
        bias: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Attends from queries to keys and values, all projected.

        A bias, broadcast to [B, H, T, S], is added to the scaled scores. Returns outputs [B, T, D]
        and the weights [B, H, T, S] before dropout.
        """
        batch, heads, length, size = query_BxHxTxP.shape
        groups, source = keys_BxNxSxP.shape[1:3]
        # The queries of a group are stacked, so that keys need not be repeated.
        query_BxNxGTxP = query_BxHxTxP.reshape(batch, groups, -1, size)
        scores = jnp.einsum(
            "bntp,bnsp->bnts", query_BxNxGTxP, keys_BxNxSxP, preferred_element_type=jnp.float32
        )
        scores = scores.reshape(batch, heads, length, source) * size**-0.5
        scores = scores if bias is None else scores + bias
        weights = masked_softmax(scores, mask, self.dtype)
        kept = self.drop(weights, deterministic).reshape(batch, groups, -1, source)
        found = jnp.einsum("bnts,bnsp->bntp", kept, values_BxNxSxP)
        # A separate transposition: within the product, XLA would leave its fast path on a CPU.
        found = found.reshape(batch, heads, length, size).transpose(0, 2, 1, 3)
        return self.output(found.reshape(batch, length, self.width)), weights

    def _split(self, x_BxSxD: jax.Array) -> jax.Array:
        """Maps [B, S, heads P] to [B, heads, S, P]."""
        batch, length, _ = x_BxSxD.shape
        size = self.width // self.heads
        return x_BxSxD.reshape(batch, length, -1, size).transpose(0, 2, 1, 3)
