"""Models of any encoder with any decoder, their embeddings and output projections."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from seqjax.architectures.contract import Carry, Memory
from seqjax.architectures.convolutional import ConvolutionalDecoder, ConvolutionalEncoder
from seqjax.architectures.recurrent import RecurrentDecoder, RecurrentEncoder
from seqjax.architectures.transformer import TransformerDecoder, TransformerEncoder
from seqjax.layers.attention import SOURCE_ATTENTION
from seqjax.layers.dense import Dense
from seqjax.layers.embedding import Embedding
from seqjax.layers.recurrent import CELLS

# The names in `config.model.encoder.kind` and `config.model.decoder.kind`.
ENCODERS = {
    **dict.fromkeys(CELLS, RecurrentEncoder),
    "convolutional": ConvolutionalEncoder,
    "transformer": TransformerEncoder,
}
DECODERS = {
    **dict.fromkeys(CELLS, RecurrentDecoder),
    "convolutional": ConvolutionalDecoder,
    "transformer": TransformerDecoder,
}


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
        self.source_embedding = build_embedding(config, config.encoder, self.source_vocabulary)
        if config.share_embeddings:
            self.target_embedding = self.source_embedding
        else:
            self.target_embedding = build_embedding(config, config.decoder, self.target_vocabulary)
        self.encoder = _stack(ENCODERS, config.encoder, dtype=jnp.dtype(config.dtype))
        self.decoder = build_decoder(config, self.target_embedding, self.target_vocabulary)

    def __call__(
        self, source_BxS: jax.Array, target_BxT: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Returns float32 logits [B, T, V] of the token that follows each target prefix."""
        memory = self.encode(source_BxS, deterministic)
        return self.decoder(memory, target_BxT, deterministic)[0]

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


class TiedOutput(nn.Module):
    """Output projection by the transposed embedding (Press and Wolf, 2017).

    Vectors of another width are first projected to the width of the embedding.
    """

    embedding: nn.Module

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if x.shape[-1] != self.embedding.width:
            x = Dense(self.embedding.width, self.embedding.dtype, name="project")(x)
        return self.embedding.attend(x)


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


def build_embedding(
    model: ml_collections.FrozenConfigDict,
    stack: ml_collections.FrozenConfigDict,
    vocabulary: int,
) -> Embedding:
    """Returns the embedding of an encoder or a decoder of `config.model`."""
    width = stack.embedding_width or stack.width
    return Embedding(
        vocabulary,
        width,
        jnp.dtype(model.dtype),
        model.embedding_initializer,
        model.embedding_dropout,
    )


def build_decoder(
    model: ml_collections.FrozenConfigDict, embedding: Embedding, vocabulary: int
) -> nn.Module:
    """Returns the decoder of `config.model` with its embedding and output projection."""
    dtype = jnp.dtype(model.dtype)
    if model.tie_output:
        output = TiedOutput(embedding)
    else:
        output = Dense(vocabulary, dtype, result=jnp.float32)
    return _stack(DECODERS, model.decoder, dtype=dtype, embedding=embedding, output=output)


def _stack(
    families: dict[str, type[nn.Module]], stack: ml_collections.FrozenConfigDict, **parts
) -> nn.Module:
    """Returns the module of a stack's kind, with the fields of the stack that it has."""
    family = families[stack.kind]
    fields = {name: value for name, value in stack.items() if name in family.__dataclass_fields__}
    return family(**fields, **parts)


def build(
    model: ml_collections.ConfigDict, source_vocabulary: int, target_vocabulary: int
) -> EncoderDecoder:
    """Returns the model that `config.model` describes."""
    return EncoderDecoder(
        ml_collections.FrozenConfigDict(model), source_vocabulary, target_vocabulary
    )
