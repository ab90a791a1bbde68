"""Decoders without a memory: autoregressive language models."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from seqjax.architectures.contract import Carry, no_memory
from seqjax.architectures.encoder_decoder import build_decoder, build_embedding
from seqjax.errors import UserError
from seqjax.layers.recurrent import CELLS

# Fields of `config.model.decoder` -> what they hold where there is no source: of every family,
# and of recurrent decoders beside.
_OF_ALL = {"attention": "none"}
_OF_RECURRENT = {"bridge": "zeros", "feed_summary": False, "input_feeding": False}


class LanguageModel(nn.Module):
    """The probability of each token given those before it, by any decoder without attention.

        p(x_1 ... x_T) = product over t of p(x_t | BOS, x_1, ..., x_(t-1))

    Recurrent decoders (Mikolov et al., 2010) and Transformers (Liu et al., 2018) without a window
    see all tokens so far. Convolutional ones (Dauphin et al., 2017) with kernel k and dilations d
    see, of these, the last

        1 + (k - 1) (d_1 + ... + d_layers)

    With `max_dilation` = 16 a convolutional decoder has of ByteNet's (Kalchbrenner et al., 2016)
    the causal convolutions, their dilations 1, 2, 4, 8, 16 and again, and a residual around each.
    Its layers are those of ConvS2S, one weight-normalized convolution with a gated linear unit. The
    paper's language models have multiplicative units (its translators ReLUs), layer normalization
    before them, and convolutions over single positions around the dilated one. They add no
    positions, as here with `positions` = 'none'.

    Attributes:
      config: `config.model`, of which the decoder and the embedding are taken.
      vocabulary: number V of token ids.
    """

    config: ml_collections.FrozenConfigDict
    vocabulary: int

    def setup(self):
        self.embedding = build_embedding(self.config, self.config.decoder, self.vocabulary)
        self.decoder = build_decoder(self.config, self.embedding, self.vocabulary)

    def __call__(self, tokens_BxT: jax.Array, deterministic: bool = True) -> jax.Array:
        """Returns float32 logits [B, T, V] of the token that follows each prefix, BOS its first."""
        return self.decoder(no_memory(tokens_BxT.shape[0]), tokens_BxT, deterministic)

    def start(self, rows: int, hypotheses: int, max_length: int) -> Carry:
        """Returns the carry of K hypotheses in each of B rows, before their first token.

        Args:
          rows: B.
          hypotheses: K.
          max_length: tokens that may be read at most, those of prompts counted.
        """
        return self.decoder.start(no_memory(rows), hypotheses, max_length)

    def step(self, carry: Carry, tokens_BxK: jax.Array) -> tuple[Carry, jax.Array]:
        """Reads one token for each hypothesis; returns the next carry and logits [B, K, V]."""
        return self.decoder.step(carry, tokens_BxK)

    def prefill(self, carry: Carry, prompt_BxP: jax.Array) -> tuple[Carry, jax.Array]:
        """Reads a prompt of each row, all equally long, for all its hypotheses.

        It takes step after step, which is simple and the same for all decoders; the parallel view
        would be faster where positions do not depend on one another.

        Args:
          carry: what `start` gave, or what has read something already.
          prompt_BxP: token ids, at least one, and no padding.

        Returns:
          The next carry, and the logits [B, K, V] of what follows the prompt.
        """
        hypotheses = jax.tree.leaves(carry.moving)[0].shape[1]
        prompt_PxBxK = jnp.repeat(prompt_BxP.T[:, :, None], hypotheses, axis=2)

        def read(model, carry, tokens_BxK):
            # Logits that nobody takes are not computed.
            return model.step(carry, tokens_BxK)[0], None

        walk = nn.scan(read, variable_broadcast="params", split_rngs={"params": False})
        carry, _ = walk(self, carry, prompt_PxBxK[:-1])
        return self.step(carry, prompt_PxBxK[-1])


def build_language_model(model: ml_collections.ConfigDict, vocabulary: int) -> LanguageModel:
    """Returns the language model that `config.model` describes; its encoder means nothing.

    Raises:
      UserError: the decoder would look for a source.
    """
    decoder = model.decoder
    for field, only in {**_OF_ALL, **(_OF_RECURRENT if decoder.kind in CELLS else {})}.items():
        if decoder[field] != only:
            raise UserError(
                f"model.decoder.{field} = {decoder[field]!r}: expected {only!r}, since a language"
                " model has no source"
            )
    return LanguageModel(ml_collections.FrozenConfigDict(model), vocabulary)
