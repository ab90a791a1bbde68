"""The families of stacks, which map vectors to vectors."""

import flax.linen as nn
import jax.numpy as jnp
import ml_collections

from seqjax.architectures.convolutional import ConvolutionalDecoder, ConvolutionalEncoder
from seqjax.architectures.recurrent import RecurrentDecoder, RecurrentEncoder
from seqjax.architectures.transformer import TransformerDecoder, TransformerEncoder
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


def build_encoder(model: ml_collections.FrozenConfigDict) -> nn.Module:
    """Returns the encoder of `config.model`."""
    return _build(ENCODERS, model.encoder, model.dtype)


def build_decoder(model: ml_collections.FrozenConfigDict) -> nn.Module:
    """Returns the decoder of `config.model`."""
    return _build(DECODERS, model.decoder, model.dtype)


def _build(
    families: dict[str, type[nn.Module]], stack: ml_collections.FrozenConfigDict, dtype: str
) -> nn.Module:
    """Returns the module of a stack's kind, with the fields of the stack that it has."""
    family = families[stack.kind]
    fields = {name: value for name, value in stack.items() if name in family.__dataclass_fields__}
    return family(**fields, dtype=jnp.dtype(dtype))
