"""Decoder-only models of text to text: one stack reads the source, then writes the target."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from seqjax.architectures.contract import Carry, Place, PyTree, no_memory
from seqjax.architectures.language_model import without_source
from seqjax.architectures.stems import build_stem
from seqjax.architectures.token_decoder import build_token_decoder
from seqjax.layers.adaptive_fields import check_cutoffs
from seqjax.layers.positions_fields import learns_positions


class DecoderOnly(nn.Module):
    """A language model of the source and the target after it (Liu et al., 2018), of any family.

        p(y | x) = product over t of p(y_t | x_1, ..., x_S, EOS, BOS, y_1, ..., y_(t-1))

    BOS separates the two. With `model.decoder.prefix_lm` the positions of the source see each other
    in both directions (prefix language model, Raffel et al., 2020). Only the target is predicted.

    Sources are rows of token ids that end with EOS and are padded with PAD (0); targets are the
    inputs of the decoder and begin with BOS. Each target stands right after its source, so that
    padding is only at the end of a row.

    Attributes:
      config: `config.model`, of which the decoder and the embedding are used.
      vocabulary: size V of the vocabulary of both sides.
    """

    config: ml_collections.FrozenConfigDict
    vocabulary: int

    def setup(self):
        stack = self.config.decoder
        self.embedding = build_stem(self.config, stack, self.vocabulary, adaptive=True)
        self.decoder = build_token_decoder(self.config, self.embedding, self.vocabulary)

    def __call__(
        self, source_BxS: jax.Array, target_BxT: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Returns float32 logits [B, T, V] of the token that follows each target prefix."""
        return self.predict(self.read(source_BxS, target_BxT, deterministic)[0])

    def read(
        self, source_BxS: jax.Array, target_BxT: jax.Array, deterministic: bool = True
    ) -> tuple[jax.Array, PyTree]:
        """Returns the vectors [B, T, R] that logits are made of, and (): nothing is carried on."""
        lengths_B = _lengths(source_BxS)
        tokens_BxN = _joined(source_BxS, target_BxT, lengths_B)
        place = Place(prefix=lengths_B if self._is_prefix_lm else None)
        memory = no_memory(len(source_BxS))
        vectors_BxNxR, _ = self.decoder.read(memory, tokens_BxN, deterministic, place)
        own_BxT = lengths_B[:, None] + jnp.arange(target_BxT.shape[1])
        return jnp.take_along_axis(vectors_BxNxR, own_BxT[..., None], axis=1), ()

    def predict(self, x_BxTxR: jax.Array) -> jax.Array:
        """Returns the logits [B, T, V] of what `read` returned."""
        return self.decoder.predict(x_BxTxR)

    def losses(
        self, x_BxTxR: jax.Array, targets_BxT: jax.Array, **terms: float | jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the losses of what `read` returned, see `TokenDecoder.losses`."""
        return self.decoder.losses(x_BxTxR, targets_BxT, **terms)

    def encode(self, source_BxS: jax.Array, deterministic: bool = True) -> jax.Array:
        """Returns the sources themselves: nothing is computed before `start`."""
        return source_BxS

    def start(self, source_BxS: jax.Array, hypotheses: int, max_length: int) -> Carry:
        """Returns the carry of K hypotheses that have read their source.

        Args:
          source_BxS: the result of `encode`.
          hypotheses: K.
          max_length: largest number of tokens that the search reads.
        """
        rows, length = source_BxS.shape
        carry = self.decoder.start(no_memory(rows), hypotheses, length + max_length)
        return self.decoder.prefill(carry, source_BxS, _lengths(source_BxS))[0]

    def step(self, carry: Carry, tokens_BxK: jax.Array) -> tuple[Carry, jax.Array]:
        """Reads one token for each hypothesis; returns the next carry and logits [B, K, V]."""
        return self.decoder.step(carry, tokens_BxK)

    def longest_target(self, source_length: int) -> float:
        """Returns the largest number of target tokens that have positions; infinity for any."""
        decoder = self.config.decoder
        return decoder.max_positions - source_length if learns_positions(decoder) else math.inf

    @property
    def _is_prefix_lm(self) -> bool:
        return self.config.decoder.kind == "transformer" and self.config.decoder.prefix_lm


def build_decoder_only(model: ml_collections.ConfigDict, vocabulary: int) -> DecoderOnly:
    """Returns the decoder-only model of `config.model`.

    The fields of the decoder that concern an encoder have no effect.

    Raises:
      UserError: the vocabulary has no words for a cluster of the adaptive softmax.
    """
    check_cutoffs(model, vocabulary)
    return DecoderOnly(without_source(model), vocabulary)


def _lengths(source_BxS: jax.Array) -> jax.Array:
    return jnp.sum(source_BxS != 0, axis=1)


def _joined(source_BxS: jax.Array, target_BxT: jax.Array, lengths_B: jax.Array) -> jax.Array:
    """Returns rows [B, S + T] in which the target begins where the source ends."""
    sources = source_BxS.shape[1]
    both_BxN = jnp.concatenate([source_BxS, target_BxT], axis=1)
    column_N, length_Bx1 = jnp.arange(both_BxN.shape[1]), lengths_B[:, None]
    # After the source the target, then the rest of the source, which is PAD.
    target_BxN = column_N - length_Bx1 + sources
    wrapped_BxN = jnp.where(target_BxN < len(column_N), target_BxN, length_Bx1)
    place_BxN = jnp.where(column_N < length_Bx1, column_N, wrapped_BxN)
    return jnp.take_along_axis(both_BxN, place_BxN, axis=1)
