"""Decoders without a memory: autoregressive language models."""

import math

import flax.linen as nn
import jax
import ml_collections

from seqjax.architectures.contract import BEGINNING, Carry, Place, PyTree, no_memory
from seqjax.architectures.families_fields import is_recurrent
from seqjax.architectures.stems import build_stem
from seqjax.architectures.token_decoder import build_token_decoder
from seqjax.layers.adaptive_fields import check_cutoffs
from seqjax.layers.positions_fields import learns_positions

# What fields of `config.model.decoder` that ask for a source are without one.
_WITHOUT_SOURCE = {
    "attention": "none",
    "bridge": "zeros",
    "feed_summary": False,
    "input_feeding": False,
}


class LanguageModel(nn.Module):
    """An autoregressive language model, by any decoder without attention to a source.

        p(x_1 ... x_T) = product over t of p(x_t | BOS, x_1, ..., x_(t-1))

    Recurrent decoders (Mikolov et al., 2010) and Transformers (Liu et al., 2018) without a window
    read all previous tokens. Convolutional decoders (Dauphin et al., 2017) with kernel k and
    dilations d read the last

        1 + (k - 1) (d_1 + ... + d_layers)

    With `max_dilation` = 16 a convolutional decoder resembles ByteNet (Kalchbrenner et al., 2016):
    causal convolutions with dilations 1, 2, 4, 8, 16, repeated, and a residual connection around
    each. Its layers are those of ConvS2S, a weight-normalized convolution with a gated linear unit.
    ByteNet's language models have multiplicative units (its translators ReLUs), layer normalization
    before them, and convolutions over single positions around the dilated one. They have no
    positions, as here with `positions` = 'none'.

    Attributes:
      config: `config.model`, of which the decoder and the embedding are used.
      vocabulary: number V of token ids.
    """

    config: ml_collections.FrozenConfigDict
    vocabulary: int

    def setup(self):
        stack = self.config.decoder
        self.embedding = build_stem(self.config, stack, self.vocabulary, adaptive=True)
        self.decoder = build_token_decoder(self.config, self.embedding, self.vocabulary)

    def __call__(
        self, tokens_BxT: jax.Array, deterministic: bool = True, place: Place = BEGINNING
    ) -> tuple[jax.Array, PyTree]:
        """Returns float32 logits [B, T, V] of the token after each prefix, and a carry.

        A row is a sequence that begins with BOS; or a block of a longer one, whose place has the
        carry of the block before. Only recurrent decoders carry a state, `carry()` before the first
        block; to others, which return (), each block is its own context. Truncated
        back-propagation (Williams and Peng, 1990) takes each block's carry as a constant.
        """
        return self.decoder(no_memory(tokens_BxT.shape[0]), tokens_BxT, deterministic, place)

    def read(
        self, tokens_BxT: jax.Array, deterministic: bool = True, place: Place = BEGINNING
    ) -> tuple[jax.Array, PyTree]:
        """Returns the vectors [B, T, R] that logits are made of, and a carry."""
        return self.decoder.read(no_memory(tokens_BxT.shape[0]), tokens_BxT, deterministic, place)

    def predict(self, x_BxTxR: jax.Array) -> jax.Array:
        """Returns the logits [B, T, V] of what `read` returned."""
        return self.decoder.predict(x_BxTxR)

    def losses(
        self, x_BxTxR: jax.Array, targets_BxT: jax.Array, **terms: float | jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Returns the losses of what `read` returned, see `TokenDecoder.losses`."""
        return self.decoder.losses(x_BxTxR, targets_BxT, **terms)

    def carry(self, rows: int) -> PyTree:
        """Returns the carry of the parallel view before the first of a sequence's blocks."""
        return self.decoder.carry(no_memory(rows))

    def start(self, rows: int, hypotheses: int, max_length: int) -> Carry:
        """Returns the carry of K hypotheses in each of B rows, before their first token.

        Args:
          rows: B.
          hypotheses: K.
          max_length: largest number of tokens that are read, including prompts.
        """
        return self.decoder.start(no_memory(rows), hypotheses, max_length)

    def step(self, carry: Carry, tokens_BxK: jax.Array) -> tuple[Carry, jax.Array]:
        """Reads one token for each hypothesis; returns the next carry and logits [B, K, V]."""
        return self.decoder.step(carry, tokens_BxK)

    def prefill(
        self, carry: Carry, prompt_BxP: jax.Array, lengths_B: jax.Array
    ) -> tuple[Carry, jax.Array]:
        """Reads a prompt for each row into all its hypotheses, in one pass.

        Args:
          carry: the result of `start` or `prefill`; with one hypothesis also of steps. All
            hypotheses of a row continue the first.
          prompt_BxP: token ids, padded at the end.
          lengths_B: int32 [B], number of tokens of each prompt. A row with 0 stays as it is, and
            its logits mean nothing.

        Returns:
          The next carry, and the logits [B, K, V] of the token after the prompt.
        """
        return self.decoder.prefill(carry, prompt_BxP, lengths_B)

    @property
    def has_state(self) -> bool:
        """Whether it carries a state from token to token, so that it may read on for ever."""
        return is_recurrent(self.config.decoder)

    def longest_target(self, source_length: int) -> float:
        """Returns the largest number of tokens that have positions; infinity for any."""
        decoder = self.config.decoder
        return decoder.max_positions if learns_positions(decoder) else math.inf


def build_language_model(model: ml_collections.ConfigDict, vocabulary: int) -> LanguageModel:
    """Returns the language model of `config.model`.

    The encoder and the fields of the decoder that concern a source have no effect.

    Raises:
      UserError: the vocabulary has no words for a cluster of the adaptive softmax.
    """
    check_cutoffs(model, vocabulary)
    return LanguageModel(without_source(model), vocabulary)


def without_source(model: ml_collections.ConfigDict) -> ml_collections.FrozenConfigDict:
    """Returns `config.model` with a decoder that has no encoder."""
    model = model.copy_and_resolve_references()
    with model.unlocked():
        model.decoder.update(_WITHOUT_SOURCE)
    return ml_collections.FrozenConfigDict(model)
