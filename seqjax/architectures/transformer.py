"""Transformer encoder and decoder stacks (Vaswani et al., 2017)."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from seqjax.architectures.contract import (
    BEGINNING,
    Carry,
    Memory,
    Place,
    last_of,
    remember,
)
from seqjax.layers.dropout import Dropout
from seqjax.layers.multi_head_attention import causal_mask, window_mask
from seqjax.layers.normalization import NORMS
from seqjax.layers.positions import Positions, RelativePositions
from seqjax.layers.rematerialization import rematerialized
from seqjax.layers.scanning import through
from seqjax.layers.transformer import TransformerDecoderLayer, TransformerEncoderLayer


class _Stack(nn.Module):
    """The fields of `config.model.encoder` and `config.model.decoder`, also those of layers."""

    layers: int
    width: int
    heads: int
    feed_forward: int
    key_value_heads: int = 0
    window: int = 0
    activation: str = "relu"
    normalization: str = "pre"
    norm: str = "layer"
    positions: str = "sinusoidal"
    max_positions: int = 512
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    rematerialize: bool = False
    scan_layers: bool = False
    dtype: jnp.dtype = jnp.float32

    def _build(self, layer: type[nn.Module], causal: bool, **fields) -> None:
        self.position = Positions(self.positions, self.max_positions)
        self.relative = RelativePositions(self.positions, self.width, self.heads, causal)
        self.drop = Dropout(self.dropout)
        if self.rematerialize:
            layer = rematerialized(layer)
        self.block = [
            layer(
                width=self.width,
                heads=self.heads,
                key_value_heads=self.key_value_heads,
                feed_forward=self.feed_forward,
                activation=self.activation,
                normalization=self.normalization,
                norm=self.norm,
                dropout=self.dropout,
                attention_dropout=self.attention_dropout,
                activation_dropout=self.activation_dropout,
                dtype=self.dtype,
                **fields,
            )
            for _ in range(self.layers)
        ]
        # With 'pre', layers leave their sum unnormalized. The name `norm` is taken by a field.
        pre = self.normalization == "pre"
        self.normalize = NORMS[self.norm](self.dtype, name="norm") if pre else lambda x: x

    def _in_window(self, mask: jax.Array, queries: jax.Array, keys_S: jax.Array) -> jax.Array:
        """Removes positions outside the window from a mask [..., T, S]."""
        return mask & window_mask(queries, keys_S, self.window) if self.window else mask


class TransformerEncoder(_Stack):
    """A stack of self-attention layers over the whole source."""

    def setup(self):
        self._build(TransformerEncoderLayer, causal=False)

    def __call__(
        self, inputs_BxSxD: jax.Array, mask_BxS: jax.Array, deterministic: bool = True
    ) -> Memory:
        """Encodes vectors [B, S, D], whose mask is true at real positions."""
        steps = jnp.arange(inputs_BxSxD.shape[1])
        mask = self._in_window(mask_BxS[:, None, None], steps, steps)
        x_BxSxD = self.drop(self.position(inputs_BxSxD), deterministic)
        relation = self.relative(steps, steps)
        x_BxSxD = through(self.block, x_BxSxD, mask, deterministic, relation, loop=self.scan_layers)
        return remember(self.normalize(x_BxSxD), mask_BxS)


class TransformerDecoder(_Stack):
    """A stack of causal self-attention and memory attention layers.

    Attributes:
      attention: 'multi_head', or 'none' in a language model, whose layers have self-attention only.
      prefix_lm: whether the positions of a prompt, or of a prefix, see each other in both
        directions (Raffel et al., 2020).
    """

    attention: str = "multi_head"
    prefix_lm: bool = False

    def setup(self):
        reads_memory = self.attention != "none"
        self._build(TransformerDecoderLayer, causal=not self.prefix_lm, reads_memory=reads_memory)

    def __call__(
        self,
        memory: Memory,
        inputs_BxTxD: jax.Array,
        deterministic: bool = True,
        place: Place = BEGINNING,
    ) -> tuple[jax.Array, tuple]:
        """Maps vectors [B, T, D] to vectors [B, T, D], without a carry.

        A vector depends only on those up to its position, or in a prefix on the prefix.
        """
        x_BxTxD = self.drop(self.position(inputs_BxTxD, place.position), deterministic)
        length = inputs_BxTxD.shape[1]
        steps = np.arange(length)
        mask = causal_mask(length)
        if place.prefix is not None:
            mask = mask | (steps < place.prefix[:, None])[:, None, None]
        mask = self._in_window(mask, steps, steps)
        if place.segment is not None:
            mask &= (place.segment[:, :, None] == place.segment[:, None])[:, None]
        # Within a segment distances are those of the steps, and other segments are hidden.
        relation = self.relative(steps, steps)
        read, memory_mask = (memory.states, memory.values), memory.mask[:, None, None]
        arguments = (read, mask, memory_mask, deterministic, relation)
        x_BxTxD = through(self.block, x_BxTxD, *arguments, loop=self.scan_layers)
        return self.normalize(x_BxTxD), ()

    def carry(self, memory: Memory) -> tuple:
        """Returns what is carried from block to block: nothing, a block is its own context."""
        return ()

    def start(self, memory: Memory, hypotheses: int, max_length: int) -> Carry:
        """Returns the carry of K hypotheses before the first of at most `max_length` tokens."""
        read = (memory.states, memory.values)
        caches = [layer.start(read, hypotheses, max_length) for layer in self.block]
        batch = memory.states.shape[0]
        return Carry(
            fixed={"mask": memory.mask, "layers": caches},
            # ancestry[b, k, t]: the slot that holds position t of hypothesis k.
            moving={"ancestry": jnp.zeros((batch, hypotheses, max_length), jnp.int32)},
            position=jnp.zeros(batch, jnp.int32),
        )

    def step(self, carry: Carry, inputs_BxKxD: jax.Array) -> tuple[Carry, jax.Array]:
        """Reads a vector for each hypothesis; returns the next carry and vectors [B, K, D]."""
        now_Bx1, ancestry = carry.position[:, None], carry.moving["ancestry"]
        batch, hypotheses, capacity = ancestry.shape
        slots, times = jnp.arange(hypotheses), jnp.arange(capacity)
        ancestry = jnp.where(
            times == now_Bx1[:, None], slots[None, :, None].astype(jnp.int32), ancestry
        )
        own = ancestry[..., None] == slots
        past_BxL = times <= now_Bx1
        mask_BxKxLK = own & past_BxL[:, None, :, None]
        mask_BxKxLK = mask_BxKxLK.reshape(batch, hypotheses, capacity * hypotheses)
        times_LK = np.repeat(np.arange(capacity), hypotheses)
        mask_BxKxLK = self._in_window(mask_BxKxLK, now_Bx1, times_LK)
        relation = self.relative(now_Bx1, times_LK)

        x_BxKxD = self.position(inputs_BxKxD, now_Bx1, capacity)
        memory_mask = carry.fixed["mask"][:, None, None]
        caches = []
        for layer, cache in zip(self.block, carry.fixed["layers"], strict=True):
            cache, x_BxKxD = layer.step(
                cache, x_BxKxD, carry.position, mask_BxKxLK, memory_mask, relation
            )
            caches.append(cache)
        carry = Carry(
            fixed={**carry.fixed, "layers": caches},
            moving={"ancestry": ancestry},
            position=carry.position + 1,
        )
        return carry, self.normalize(x_BxKxD)

    def prefill(
        self, carry: Carry, inputs_BxPxD: jax.Array, lengths_B: jax.Array
    ) -> tuple[Carry, jax.Array]:
        """Reads prompts at once; returns the next carry and the last vectors [B, 1, D].

        All hypotheses have the slots of the first as their past, so nothing is copied.
        """
        start_Bx1, ancestry = carry.position[:, None], carry.moving["ancestry"]
        capacity = ancestry.shape[2]
        positions_BxP = start_Bx1 + jnp.arange(inputs_BxPxD.shape[1])
        times_L = np.arange(capacity)
        mask_BxPxL = times_L <= positions_BxP[..., None]
        if self.prefix_lm:
            mask_BxPxL |= (times_L < start_Bx1 + lengths_B[:, None])[:, None]
        mask_BxPxL = self._in_window(mask_BxPxL, positions_BxP, times_L)
        relation = self.relative(positions_BxP, times_L)
        x_BxPxD = self.position(inputs_BxPxD, positions_BxP, capacity)
        memory_mask = carry.fixed["mask"][:, None, None]
        caches = []
        for layer, cache in zip(self.block, carry.fixed["layers"], strict=True):
            cache, x_BxPxD = layer.prefill(
                cache, x_BxPxD, carry.position, lengths_B, mask_BxPxL, memory_mask, relation
            )
            caches.append(cache)
        read_BxL = (times_L >= start_Bx1) & (times_L < start_Bx1 + lengths_B[:, None])
        carry = Carry(
            fixed={**carry.fixed, "layers": caches},
            moving={"ancestry": jnp.where(read_BxL[:, None], 0, ancestry)},
            position=carry.position + lengths_B,
        )
        return carry, self.normalize(last_of(x_BxPxD, lengths_B))
