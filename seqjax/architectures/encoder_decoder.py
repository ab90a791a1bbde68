"""Any encoder with any decoder, and the embeddings between them and the vocabulary."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from seqjax.architectures.contract import Carry, Memory
from seqjax.architectures.convolutional import ConvolutionalDecoder, ConvolutionalEncoder
from seqjax.architectures.transformer import TransformerDecoder, TransformerEncoder
from seqjax.layers.dense import Dense
from seqjax.layers.embedding import Embedding

ENCODERS = {"transformer": TransformerEncoder, "convolutional": ConvolutionalEncoder}
DECODERS = {"transformer": TransformerDecoder, "convolutional": ConvolutionalDecoder}


class EncoderDecoder(nn.Module):
    """A sequence-to-sequence model (Sutskever et al., 2014).

    Sources are rows of token ids that end in EOS and are filled up with PAD (0); targets are what
    the decoder reads: BOS first. Attributes: the parts, see `build`.
    """

    config: ml_collections.FrozenConfigDict
    source_vocabulary: int
    target_vocabulary: int

    def setup(self):
        config = self.config
        dtype = jnp.dtype(config.dtype)

        def embedding(vocabulary, width):
            return Embedding(vocabulary, width, dtype, config.embedding_initializer)

        encoder, decoder = config.encoder, config.decoder
        source_width = encoder.embedding_width or encoder.width
        target_width = decoder.embedding_width or decoder.width
        self.source_embedding = embedding(self.source_vocabulary, source_width)
        if config.share_embeddings:
            self.target_embedding = self.source_embedding
        else:
            self.target_embedding = embedding(self.target_vocabulary, target_width)
        if config.tie_output:
            output = TiedOutput(self.target_embedding)
        else:
            output = Dense(self.target_vocabulary, dtype, result=jnp.float32)
        self.encoder = _stack(ENCODERS, encoder, dtype=dtype)
        self.decoder = _stack(
            DECODERS, decoder, dtype=dtype, embedding=self.target_embedding, output=output
        )

    def __call__(
        self, source_BxS: jax.Array, target_BxT: jax.Array, deterministic: bool = True
    ) -> jax.Array:
        """Returns float32 logits [B, T, V] of the token that follows each target prefix."""
        memory = self.encode(source_BxS, deterministic)
        return self.decoder(memory, target_BxT, deterministic)

    def encode(self, source_BxS: jax.Array, deterministic: bool = True) -> Memory:
        """Encodes sources, once for a whole search."""
        lengths_B = jnp.sum(source_BxS != 0, axis=1)
        return self.encoder(self.source_embedding(source_BxS), lengths_B, deterministic)

    def start(self, memory: Memory, hypotheses: int, max_length: int) -> Carry:
        """See `TransformerDecoder.start`."""
        return self.decoder.start(memory, hypotheses, max_length)

    def step(self, carry: Carry, tokens_BxK: jax.Array) -> tuple[Carry, jax.Array]:
        """See `TransformerDecoder.step`."""
        return self.decoder.step(carry, tokens_BxK)


class TiedOutput(nn.Module):
    """The output projection that is the transposed embedding (Press and Wolf, 2017)."""

    embedding: nn.Module

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.embedding.attend(x)


def _stack(
    families: dict[str, type[nn.Module]], stack: ml_collections.FrozenConfigDict, **parts
) -> nn.Module:
    """Returns the module of a stack's family, which takes those fields of the stack it has."""
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
