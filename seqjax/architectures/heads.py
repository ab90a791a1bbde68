"""Heads: what turns the vectors of a decoder's stack into logits of the next token."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from seqjax.layers.adaptive import (
    AdaptiveEmbedding,
    AdaptiveHead,
    AdaptiveSoftmax,
    TiedAdaptiveSoftmax,
)
from seqjax.layers.adaptive_fields import adaptive_cutoffs
from seqjax.layers.cross_entropy import objective_and_loss
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


def losses(
    head: nn.Module, x: jax.Array, targets: jax.Array, label_smoothing: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns the cross entropy of targets [...] with and without smoothing, in nats, given x.

    An adaptive softmax has no smoothing. No gradient flows through the second.
    """
    if isinstance(head, AdaptiveHead):
        loss = head.losses(x, targets)
        return loss, jax.lax.stop_gradient(loss)
    return objective_and_loss(head(x), targets, label_smoothing)


def build_head(
    model: ml_collections.FrozenConfigDict, stem: Embedding | AdaptiveEmbedding, vocabulary: int
) -> nn.Module:
    """Returns the head of `config.model`, given the stem of the decoder."""
    cutoffs, dtype = adaptive_cutoffs(model), jnp.dtype(model.dtype)
    if cutoffs and model.tie_output:
        return TiedAdaptiveSoftmax(vocabulary, cutoffs, stem)
    if cutoffs:
        return AdaptiveSoftmax(vocabulary, cutoffs, stem.width, model.adaptive_factor, dtype)
    if model.tie_output:
        return TiedHead(stem)
    return Dense(vocabulary, dtype, result=jnp.float32)
