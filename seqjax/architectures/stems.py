"""Stems: what turns tokens into the vectors that a stack reads."""

import jax.numpy as jnp
import ml_collections

from seqjax.layers.adaptive import AdaptiveEmbedding
from seqjax.layers.adaptive_fields import adaptive_cutoffs
from seqjax.layers.embedding import Embedding


def build_stem(
    model: ml_collections.FrozenConfigDict,
    stack: ml_collections.FrozenConfigDict,
    vocabulary: int,
    adaptive: bool,
) -> Embedding | AdaptiveEmbedding:
    """Returns the stem of an encoder or a decoder of `config.model`.

    Args:
      model: `config.model`.
      stack: the section of the stack that reads the vectors.
      vocabulary: number of token ids.
      adaptive: whether `model.adaptive_inputs` holds for these tokens.
    """
    fields = {
        "vocabulary": vocabulary,
        "width": stack.embedding_width or stack.width,
        "dtype": jnp.dtype(model.dtype),
        "initializer": model.embedding_initializer,
        "dropout": model.embedding_dropout,
        "scaled": model.scale_embeddings,
    }
    if not (adaptive and model.adaptive_inputs):
        return Embedding(**fields)
    cutoffs = adaptive_cutoffs(model)
    return AdaptiveEmbedding(**fields, cutoffs=cutoffs, factor=model.adaptive_factor)
