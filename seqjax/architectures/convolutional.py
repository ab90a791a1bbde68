"""Convolutional encoder and decoder stacks, ConvS2S (Gehring et al., 2017).

Beyond the paper, convolutions can be dilated as in ByteNet (Kalchbrenner et al., 2016), and every
kind of attention can be used. Details that the paper leaves open follow fairseq's `fconv`, with
three differences: positions may also be sinusoids or absent, the output projection is not
weight-normalized, and token vectors are scaled and initialized differently (see `Embedding`).
"""

import functools

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.architectures.contract import (
    BEGINNING,
    Carry,
    Memory,
    Place,
    for_all,
    last_of,
    refuse_segments,
    remember,
)
from seqjax.layers.convolutional import (
    ConvolutionalDecoderLayer,
    ConvolutionalEncoderLayer,
    average,
    dilations,
)
from seqjax.layers.dropout import Dropout
from seqjax.layers.positions import Positions
from seqjax.layers.rematerialization import rematerialized
from seqjax.layers.scanning import through
from seqjax.layers.weight_normalization import NormalizedDense

# Initial standard deviation of token vectors (Gehring et al., 2017, section 3.5) if
# `model.embedding_initializer` is 'normal'.
EMBEDDING_DEVIATION = 0.1


@flax.struct.dataclass
class ConvolutionalMemory(Memory):
    """A memory whose values are (states + embedded) sqrt(1/2).

    Attributes:
      embedded: float [B, S, E], source vectors with their positions.
    """

    embedded: jax.Array = None


class _Stack(nn.Module):
    """The fields of `config.model.encoder` and `config.model.decoder`."""

    layers: int
    width: int
    embedding_width: int = 0
    kernel: int = 3
    max_dilation: int = 1
    positions: str = "sinusoidal"
    max_positions: int = 512
    dropout: float = 0.0
    rematerialize: bool = False
    scan_layers: bool = False
    dtype: jnp.dtype = jnp.float32

    def _build(self, layer: type[nn.Module], **fields) -> None:
        if self.rematerialize:
            layer = rematerialized(layer)
        self.position = Positions(self.positions, self.max_positions)
        self.drop = Dropout(self.dropout)
        self.enter = NormalizedDense(self.width, dropout=self.dropout, dtype=self.dtype)
        self.block = [
            layer(
                width=self.width,
                kernel=self.kernel,
                dilation=dilation,
                dropout=self.dropout,
                dtype=self.dtype,
                **fields,
            )
            for dilation in dilations(self.layers, self.max_dilation)
        ]
        self.leave = NormalizedDense(self.embedding_width or self.width, dtype=self.dtype)

    def _place(
        self, x_BxTxE: jax.Array, positions: jax.Array | None = None, capacity: int | None = None
    ) -> jax.Array:
        """Adds positions, if there are any, and scales vectors to `EMBEDDING_DEVIATION`.

        `Embedding` returns vectors of unit variance. With these the scores of 'dot' would differ so
        much that each query reads a single position, and attention hardly learns.
        """
        if self.positions == "learned":
            # The initial learned positions are about as small as the scaled vectors.
            return self.position(x_BxTxE * EMBEDDING_DEVIATION, positions, capacity)
        return self.position(x_BxTxE, positions, capacity) * EMBEDDING_DEVIATION


class ConvolutionalEncoder(_Stack):
    """A stack of gated convolutions over the whole source.

    states = layers(embedded W + b) V + d
    values = (states + embedded) sqrt(1/2)
    """

    def setup(self):
        self._build(ConvolutionalEncoderLayer)

    def __call__(
        self, inputs_BxSxE: jax.Array, mask_BxS: jax.Array, deterministic: bool = True
    ) -> ConvolutionalMemory:
        """Encodes vectors [B, S, E], whose mask is true at real positions."""
        embedded_BxSxE = self.drop(self._place(inputs_BxSxE), deterministic)
        x_BxSxD = self.enter(embedded_BxSxE)
        x_BxSxD = through(self.block, x_BxSxD, mask_BxS, deterministic, loop=self.scan_layers)
        states_BxSxE = self.leave(x_BxSxD)
        memory = remember(states_BxSxE, mask_BxS, values=average(states_BxSxE, embedded_BxSxE))
        return ConvolutionalMemory(**vars(memory), embedded=embedded_BxSxE)


class ConvolutionalDecoder(_Stack):
    """A stack of causal gated convolutions, each with attention to the memory.

    The gradient of an encoder is divided by twice the number of layers, since each layer has an
    attention (section 3.4; the factor of two is fairseq's). As in the paper, the gradient of a
    convolutional encoder's embeddings is not scaled; with other encoders the gradient of the whole
    memory is.

    Attributes:
      attention: a key of `ATTENTIONS`, in the paper 'dot'; 'none' in a language model, whose layers
        are convolutions alone.
      attention_width: inner size, for the kinds that have one; 0 stands for the embedding width.
      heads: number of heads, for 'multi_head' only.
    """

    attention: str = "dot"
    attention_width: int = 0
    heads: int = 1

    def setup(self):
        self._build(
            ConvolutionalDecoderLayer,
            embedding_width=self.embedding_width or self.width,
            attention=self.attention,
            attention_width=self.attention_width,
            heads=self.heads,
        )

    def __call__(
        self,
        memory: Memory,
        inputs_BxTxE: jax.Array,
        deterministic: bool = True,
        place: Place = BEGINNING,
    ) -> tuple[jax.Array, tuple]:
        """Maps vectors [B, T, E] to vectors [B, T, E], without a carry.

        A vector depends only on those up to its position.
        """
        refuse_segments(place)
        embedded_BxTxE = self.drop(self._place(inputs_BxTxE, place.position), deterministic)
        x_BxTxD = self.enter(embedded_BxTxE)
        arguments = (embedded_BxTxE, self._scaled(memory), deterministic)
        x_BxTxD = through(self.block, x_BxTxD, *arguments, loop=self.scan_layers)
        return self.drop(self.leave(x_BxTxD), deterministic), ()

    def carry(self, memory: Memory) -> tuple:
        """Returns what is carried from block to block: nothing, a block is its own context."""
        return ()

    def start(self, memory: Memory, hypotheses: int, max_length: int) -> Carry:
        """Returns the carry of K hypotheses before the first of at most `max_length` tokens."""
        batch, read = memory.states.shape[0], self._scaled(memory)
        return Carry(
            fixed={
                "memory": [layer.prepare(read) for layer in self.block],
                # Its length is the number of possible positions.
                "positions": jnp.zeros((batch, max_length), bool),
            },
            moving=[layer.start(batch, hypotheses) for layer in self.block],
            position=jnp.zeros(batch, jnp.int32),
        )

    def step(self, carry: Carry, inputs_BxKxE: jax.Array) -> tuple[Carry, jax.Array]:
        """Reads a vector for each hypothesis; returns the next carry and vectors [B, K, E]."""
        capacity = carry.fixed["positions"].shape[1]
        embedded_BxKxE = self._place(inputs_BxKxE, carry.position[:, None], capacity)
        x_BxKxD = self.enter(embedded_BxKxE)
        moving = []
        for layer, past, prepared in zip(
            self.block, carry.moving, carry.fixed["memory"], strict=True
        ):
            past, x_BxKxD = layer.step(past, x_BxKxD, embedded_BxKxE, prepared)
            moving.append(past)
        carry = carry.replace(moving=moving, position=carry.position + 1)
        return carry, self.leave(x_BxKxD)

    def prefill(
        self, carry: Carry, inputs_BxPxE: jax.Array, lengths_B: jax.Array
    ) -> tuple[Carry, jax.Array]:
        """Reads prompts at once; returns the next carry and the last vectors [B, 1, E]."""
        positions_BxP = carry.position[:, None] + jnp.arange(inputs_BxPxE.shape[1])
        capacity = carry.fixed["positions"].shape[1]
        embedded_BxPxE = self._place(inputs_BxPxE, positions_BxP, capacity)
        x_BxPxD = self.enter(embedded_BxPxE)
        moving = []
        for layer, past, prepared in zip(
            self.block, carry.moving, carry.fixed["memory"], strict=True
        ):
            new, x_BxPxD = layer.prefill(past[:, 0], x_BxPxD, embedded_BxPxE, prepared, lengths_B)
            moving.append(for_all(new[:, None], past.shape[1]))
        carry = carry.replace(moving=moving, position=carry.position + lengths_B)
        return carry, self.leave(last_of(x_BxPxD, lengths_B))

    def _scaled(self, memory: Memory) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns states, values and mask for the layers, with scaled gradients."""
        share = 1 / (2 * self.layers)
        states = scale_gradient(memory.states, share)
        if isinstance(memory, ConvolutionalMemory):
            values = average(states, memory.embedded)
        else:
            values = scale_gradient(memory.values, share)
        return states, values, memory.mask


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def scale_gradient(x: jax.Array, share: float) -> jax.Array:
    """Returns x and multiplies its gradient by `share`."""
    return x


scale_gradient.defvjp(lambda x, share: (x, None), lambda share, _, gradient: (gradient * share,))
