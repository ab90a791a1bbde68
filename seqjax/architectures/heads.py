"""Heads: what turns the vectors of a decoder's stack into logits of the next token."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from seqjax.layers.dense import Dense
from seqjax.layers.embedding import Embedding


class TiedHead(nn.Module):
    """The transposed embedding (Press and Wolf, 2017).

    Vectors of another width are first projected to the width of the embedding.
    """

    embedding: Embedding

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Maps vectors [..., R] to float32 logits [..., V]."""
        if x.shape[-1] != self.embedding.width:
            x = Dense(self.embedding.width, self.embedding.dtype, name="project")(x)
        return self.embedding.attend(x)


def build_head(
    model: ml_collections.FrozenConfigDict, stem: Embedding, vocabulary: int
) -> nn.Module:
    """Returns the head of `config.model`, given the stem of the decoder."""
    if model.tie_output:
        return TiedHead(stem)
    return Dense(vocabulary, jnp.dtype(model.dtype), result=jnp.float32)
