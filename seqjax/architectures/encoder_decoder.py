"""Models of any encoder with any decoder."""

import math
import re

import flax.linen as nn
import jax
import ml_collections

from seqjax.architectures.contract import Carry, Memory, PyTree
from seqjax.architectures.families import build_encoder
from seqjax.architectures.stems import build_stem
from seqjax.architectures.token_decoder import build_token_decoder
from seqjax.layers.adaptive_fields import check_cutoffs
from seqjax.layers.attention import SOURCE_ATTENTION
from seqjax.layers.positions_fields import learns_positions


class EncoderDecoder(nn.Module):
    """A sequence-to-sequence model (Sutskever et al., 2014).

    Sources are rows of token ids that end with EOS and are padded with PAD (0); targets are the
    inputs of the decoder and begin with BOS.

    Attributes:
      config: `config.model`.
      source_vocabulary: size of the source vocabulary.
      target_vocabulary: size V of the target vocabulary.
    """

    config: ml_collections.FrozenConfigDict
    source_vocabulary: int
    target_vocabulary: int

    def setup(self):
        config = self.config
        shared = config.share_embeddings
        self.source_embedding = build_stem(
            config, config.encoder, self.source_vocabulary, adaptive=shared
        )
        if shared:
            self.target_embedding = self.source_embedding
        else:
            self.target_embedding = build_stem(
                config, config.decoder, self.target_vocabulary, adaptive=True
            )
        self.encoder = build_encoder(config)
        self.decoder = build_token_decoder(config, self.target_embedding, self.target_vocabulary)

    def __call__(
        self, source_BxS: jax.Array, target_BxT: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Returns float32 logits [B, T, V] of the token that follows each target prefix."""
        return self.predict(self.read(source_BxS, target_BxT, deterministic)[0])

    def read(
        self, source_BxS: jax.Array, target_BxT: jax.Array, deterministic: bool = True
    ) -> tuple[jax.Array, PyTree]:
        """Returns the vectors [B, T, R] that logits are made of, and (): nothing is carried on."""
        memory = self.encode(source_BxS, deterministic)
        return self.decoder.read(memory, target_BxT, deterministic)[0], ()

    def predict(self, x_BxTxR: jax.Array) -> jax.Array:
        """Returns the logits [B, T, V] of what `read` returned."""
        return self.decoder.predict(x_BxTxR)

    def losses(
        self, x_BxTxR: jax.Array, targets_BxT: jax.Array, **terms: float | jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the losses of what `read` returned, see `TokenDecoder.losses`."""
        return self.decoder.losses(x_BxTxR, targets_BxT, **terms)

    def encode(self, source_BxS: jax.Array, deterministic: bool = True) -> Memory:
        """Encodes sources, once for a whole search."""
        embedded_BxSxE = self.source_embedding(source_BxS, deterministic)
        return self.encoder(embedded_BxSxE, source_BxS != 0, deterministic)

    def start(self, memory: Memory, hypotheses: int, max_length: int) -> Carry:
        """Returns the carry of K hypotheses for each source, before their first token.

        Args:
          memory: the result of `encode`.
          hypotheses: K.
          max_length: largest number of tokens that the search reads.
        """
        return self.decoder.start(memory, hypotheses, max_length)

    def step(self, carry: Carry, tokens_BxK: jax.Array) -> tuple[Carry, jax.Array]:
        """Reads one token for each hypothesis; returns the next carry and logits [B, K, V]."""
        return self.decoder.step(carry, tokens_BxK)

    def longest_target(self, source_length: int) -> float:
        """Returns the largest number of target tokens that have positions; infinity for any."""
        decoder = self.config.decoder
        return decoder.max_positions if learns_positions(decoder) else math.inf


def source_attention(
    model: EncoderDecoder, variables: dict, source_BxS: jax.Array, target_BxT: jax.Array
) -> tuple[jax.Array, list[jax.Array]]:
    """Returns the logits [B, T, V], and the weights [B, H, T, S] of each layer with attention.

    At every target position the weights sum to 1 over the real source positions. The list is empty
    for a model without attention.
    """
    logits, found = model.apply(variables, source_BxS, target_BxT, mutable=[SOURCE_ATTENTION])
    layers = jax.tree_util.tree_leaves_with_path(found)

    def number(path) -> int:
        digits = [re.sub(r"\D", "", str(key)) for key in path[1:-1]]
        return int("".join(digits) or 0)

    return logits, [weights for _, weights in sorted(layers, key=lambda item: number(item[0]))]


def build(
    model: ml_collections.ConfigDict, source_vocabulary: int, target_vocabulary: int
) -> EncoderDecoder:
    """Returns the model that `config.model` describes.

    Raises:
      UserError: the vocabulary has no words for a cluster of the adaptive softmax.
    """
    check_cutoffs(model, target_vocabulary)
    return EncoderDecoder(
        ml_collections.FrozenConfigDict(model), source_vocabulary, target_vocabulary
    )
