"""Attention in several subspaces at once."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.layers.dense import Dense, together
from seqjax.layers.dropout import Dropout
from seqjax.layers.masked_softmax import masked_softmax


def causal_mask(length: int) -> jax.Array:
    """Returns bool [1, 1, T, T], true where a position may read: itself and the past."""
    return jnp.tril(jnp.ones((length, length), bool))[None, None]


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention in several subspaces (Vaswani et al., 2017, section 3.2).

        head_h = softmax(Q_h K_h^T / sqrt(P)) V_h,   Q_h = q W^Q_h, K_h = m W^K_h, V_h = m W^V_h
        output = [head_1, ..., head_H] W^O

    The softmax is computed in float32.

    Attributes:
      width: size D of queries and outputs.
      heads: number H of heads; the width P of a head is D / H.
      dropout: rate on the attention weights.
      dtype: numbers of the computation.
    """

    width: int
    heads: int
    dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.query, self.key, self.value, self.output = (
            Dense(self.width, self.dtype) for _ in range(4)
        )
        self.drop = Dropout(self.dropout)

    def __call__(
        self,
        query_BxTxD: jax.Array,
        memory_BxSxE: jax.Array,
        mask: jax.Array,
        deterministic: bool = True,
    ) -> jax.Array:
        """Reads the memory at every target position; mask is bool, broadcast to [B, H, T, S]."""
        query = self.project_query(query_BxTxD)
        return self.read(query, *self.project_memory(memory_BxSxE), mask, deterministic)[0]

    def project_query(self, query_BxTxD: jax.Array) -> jax.Array:
        """Returns the queries [B, H, T, P]."""
        return self._split(self.query(query_BxTxD))

    def project_memory(
        self, memory_BxSxE: jax.Array, values_BxSxE: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the keys and values [B, H, S, P] of a memory, to be read many times.

        Args:
          memory_BxSxE: what is compared with queries.
          values_BxSxE: what is read, where it is something else.
        """
        values_BxSxE = memory_BxSxE if values_BxSxE is None else values_BxSxE
        return self._split(self.key(memory_BxSxE)), self._split(self.value(values_BxSxE))

    def project_own(self, x_BxKxD: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns queries, keys and values [B, H, K, P] of few positions, in one product."""
        projected = together((self.query, self.key, self.value), x_BxKxD)
        return tuple(self._split(projected[:, :, i]) for i in range(3))

    def read(
        self,
        query_BxHxTxP: jax.Array,
        keys_BxHxSxP: jax.Array,
        values_BxHxSxP: jax.Array,
        mask: jax.Array,
        deterministic: bool = True,
    ) -> tuple[jax.Array, jax.Array]:
        """Attends from queries to keys and values, all projected.

        Returns outputs [B, T, D] and the weights [B, H, T, S] before dropout.
        """
        scores = jnp.einsum(
            "bhtp,bhsp->bhts", query_BxHxTxP, keys_BxHxSxP, preferred_element_type=jnp.float32
        )
        weights = masked_softmax(scores * (self.width // self.heads) ** -0.5, mask, self.dtype)
        kept = self.drop(weights, deterministic)
        # The transposition stands apart: as part of the product, XLA leaves its fast path on a CPU.
        heads = jnp.einsum("bhts,bhsp->bhtp", kept, values_BxHxSxP).transpose(0, 2, 1, 3)
        return self.output(heads.reshape(*heads.shape[:2], self.width)), weights

    def _split(self, x_BxSxD: jax.Array) -> jax.Array:
        """Turns [B, S, D] into [B, H, S, P]."""
        batch, length, _ = x_BxSxD.shape
        return x_BxSxD.reshape(batch, length, self.heads, -1).transpose(0, 2, 1, 3)
