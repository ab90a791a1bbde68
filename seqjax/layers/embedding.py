"""Token embeddings."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.layers.dense import matmul
from seqjax.layers.dropout import Dropout

# Name -> initializer of a table of vectors of a given width.
INITIALIZERS = {
    "normal": lambda width: nn.initializers.normal(width**-0.5),
    "xavier": lambda width: nn.initializers.xavier_uniform(),
}


class Embedding(nn.Module):
    """A table of token vectors that can also serve as the output projection.

        embed(i) = sqrt(D) E_i, or E_i          logits(h) = h E^T

    Initialized with N(0, 1/D), the table has unit scale in both directions. It is shared as in
    Press and Wolf (2017) and Vaswani et al. (2017).

    Attributes:
      vocabulary: number V of entries.
      width: size D of a vector.
      dtype: type of the computation; the table is float32.
      initializer: a key of `INITIALIZERS`.
      dropout: rate at which the vectors of entries are zero, wherever they occur (Gal and
        Ghahramani, 2016; Merity et al., 2018). The output projection has all entries.
      scaled: whether vectors are multiplied by sqrt(D).
    """

    vocabulary: int
    width: int
    dtype: jnp.dtype = jnp.float32
    initializer: str = "normal"
    dropout: float = 0.0
    scaled: bool = True

    def setup(self):
        self.drop = Dropout(self.dropout, by_row=False)
        self.table = self.param(
            "table",
            INITIALIZERS[self.initializer](self.width),
            (self.vocabulary, self.width),
            jnp.float32,
        )

    def __call__(self, tokens: jax.Array, deterministic: bool = True) -> jax.Array:
        """Maps token ids [...] to vectors [..., D]."""
        vectors = self.lookup(tokens)
        if self.scaled:
            vectors *= jnp.asarray(self.width**0.5, self.dtype)
        if deterministic or self.dropout == 0.0:
            return vectors
        kept_Vx1 = self.drop(jnp.ones((self.vocabulary, 1), self.dtype), deterministic)
        return vectors * jnp.take(kept_Vx1, tokens, axis=0)

    def lookup(self, tokens: jax.Array) -> jax.Array:
        """Returns the rows [..., D] of the table, neither scaled nor dropped."""
        return jnp.take(self.table, tokens, axis=0).astype(self.dtype)

    def attend(self, x: jax.Array) -> jax.Array:
        """Maps vectors [..., D] to float32 logits [..., V]."""
        return matmul(x, self.table.T, self.dtype, jnp.float32)
