"""Stems: what turns tokens into the vectors that a stack reads."""

import jax.numpy as jnp
import ml_collections

from seqjax.layers.embedding import Embedding


def build_stem(
    model: ml_collections.FrozenConfigDict,
    stack: ml_collections.FrozenConfigDict,
    vocabulary: int,
) -> Embedding:
    """Returns the stem of an encoder or a decoder of `config.model`."""
    return Embedding(
        vocabulary,
        stack.embedding_width or stack.width,
        jnp.dtype(model.dtype),
        model.embedding_initializer,
        model.embedding_dropout,
    )
