"""The layers of Transformer encoders and decoders."""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.layers.attention import sow_weights
from seqjax.layers.dropout import Dropout
from seqjax.layers.feed_forward import FeedForward
from seqjax.layers.key_value_cache import empty_cache, fill, write
from seqjax.layers.multi_head_attention import MultiHeadAttention
from seqjax.layers.normalization import NORMS
from seqjax.layers.positions import NO_PAIRWISE, PairwisePositions


class Residual(nn.Module):
    """Adds a sublayer's output to its input, with normalization before or after.

        pre:  y = x + dropout(f(norm(x)))      (Xiong et al., 2020)
        post: y = norm(x + dropout(f(x)))      (Vaswani et al., 2017)

    Attributes:
      normalization: 'pre' or 'post'.
      dropout: rate on the sublayer's output.
      kind: a key of `NORMS`.
      dtype: type of the computation.
    """

    normalization: str
    dropout: float
    kind: str = "layer"
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, sublayer: Callable[[jax.Array], jax.Array], deterministic: bool
    ) -> jax.Array:
        norm = NORMS[self.kind](self.dtype, name="norm")
        drop = Dropout(self.dropout)
        if self.normalization == "pre":
            return x + drop(sublayer(norm(x)), deterministic)
        return norm(x + drop(sublayer(x), deterministic))


class _Layer(nn.Module):
    """The fields shared by both layers, named as in `config.model.encoder`."""

    width: int
    heads: int
    feed_forward: int
    key_value_heads: int = 0
    activation: str = "relu"
    normalization: str = "pre"
    norm: str = "layer"
    dropout: float = 0.0
    attention_dropout: float = 0.0
    activation_dropout: float = 0.0
    dtype: jnp.dtype = jnp.float32

    def _attention(self) -> MultiHeadAttention:
        return MultiHeadAttention(
            self.width, self.heads, self.key_value_heads, self.attention_dropout, self.dtype
        )

    def _residual(self) -> Residual:
        return Residual(self.normalization, self.dropout, self.norm, self.dtype)

    def _feed_forward(self) -> FeedForward:
        return FeedForward(
            self.width, self.feed_forward, self.activation, self.activation_dropout, self.dtype
        )


class TransformerEncoderLayer(_Layer):
    """Self-attention, then feed-forward (Vaswani et al., 2017)."""

    def setup(self):
        self.attention, self.attention_residual = self._attention(), self._residual()
        self.inner, self.inner_residual = self._feed_forward(), self._residual()

    def __call__(
        self,
        x_BxSxD: jax.Array,
        mask: jax.Array,
        deterministic: bool = True,
        relation: PairwisePositions = NO_PAIRWISE,
    ) -> jax.Array:
        """Maps [B, S, D] to [B, S, D]; mask is bool, broadcast to [B, H, S, S]."""
        x_BxSxD = self.attention_residual(
            x_BxSxD, lambda x: self.attention(x, x, mask, deterministic, relation), deterministic
        )
        return self.inner_residual(x_BxSxD, lambda x: self.inner(x, deterministic), deterministic)


class TransformerDecoderLayer(_Layer):
    """Causal self-attention, attention to the memory, then feed-forward (Vaswani et al., 2017).

    Attributes: as in `_Layer`, and
      reads_memory: whether there is attention to the memory; without it the memory is ignored.
    """

    reads_memory: bool = True

    def setup(self):
        self.attention, self.attention_residual = self._attention(), self._residual()
        if self.reads_memory:
            self.cross, self.cross_residual = self._attention(), self._residual()
        self.inner, self.inner_residual = self._feed_forward(), self._residual()

    def __call__(
        self,
        x_BxTxD: jax.Array,
        memory: tuple[jax.Array, jax.Array],
        mask: jax.Array,
        memory_mask: jax.Array,
        deterministic: bool = True,
        relation: PairwisePositions = NO_PAIRWISE,
    ) -> jax.Array:
        """Maps [B, T, D] to [B, T, D]; masks broadcast to [B, H, T, T] and [B, H, T, S].

        The memory consists of states and values [B, S, E].
        """
        x_BxTxD = self.attention_residual(
            x_BxTxD, lambda x: self.attention(x, x, mask, deterministic, relation), deterministic
        )
        return self._rest(x_BxTxD, self._project(memory), memory_mask, deterministic)

    def start(self, memory: tuple[jax.Array, jax.Array], hypotheses: int, capacity: int) -> dict:
        """Returns the projected memory, if used, and empty caches for L = `capacity` positions."""
        batch, groups = memory[0].shape[0], self.key_value_heads or self.heads
        size = self.width // self.heads
        keys, values = empty_cache(batch, groups, size, capacity, hypotheses, self.dtype)
        return {"cross": self._project(memory), "keys": keys, "values": values}

    def step(
        self,
        cache: dict,
        x_BxKxD: jax.Array,
        position_B: jax.Array,
        mask_BxKxLK: jax.Array,
        memory_mask: jax.Array,
        relation: PairwisePositions = NO_PAIRWISE,
    ) -> tuple[dict, jax.Array]:
        """Advances K hypotheses by one position; `relation` covers all L K slots.

        The keys and values of hypothesis k at position t stay in slot (t, k). The mask selects the
        slots of a hypothesis' past, so reordering a beam moves no cache.
        """
        keys, values = cache["keys"], cache["values"]

        def attend(x):
            nonlocal keys, values
            query, key, value = self.attention.project_own(x, relation)
            keys, values = write((keys, values), key, value, position_B)
            mask = mask_BxKxLK[:, None]
            read = self.attention.read
            return read(query, keys.swapaxes(2, 3), values, mask, bias=relation.bias)[0]

        x_BxKxD = self.attention_residual(x_BxKxD, attend, True)
        x_BxKxD = self._rest(x_BxKxD, cache["cross"], memory_mask, True)
        return {**cache, "keys": keys, "values": values}, x_BxKxD

    def prefill(
        self,
        cache: dict,
        x_BxTxD: jax.Array,
        position_B: jax.Array,
        lengths_B: jax.Array,
        mask_BxTxL: jax.Array,
        memory_mask: jax.Array,
        relation: PairwisePositions = NO_PAIRWISE,
    ) -> tuple[dict, jax.Array]:
        """Reads T positions of each row at once, of which the first `lengths` are kept.

        They are written into the slots of hypothesis 0; `relation` covers its L positions.
        """
        kept = cache["keys"], cache["values"]
        hypotheses = kept[0].shape[3] // mask_BxTxL.shape[2]

        def attend(x):
            nonlocal kept
            query, key, value = self.attention.project_own(x, relation)
            kept, own = fill(kept, key, value, position_B, lengths_B, hypotheses)
            return self.attention.read(query, *own, mask_BxTxL[:, None], bias=relation.bias)[0]

        x_BxTxD = self.attention_residual(x_BxTxD, attend, True)
        x_BxTxD = self._rest(x_BxTxD, cache["cross"], memory_mask, True)
        return {**cache, "keys": kept[0], "values": kept[1]}, x_BxTxD

    def _project(self, memory: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array] | None:
        """Returns the keys and values of a memory, None if it is ignored."""
        return self.cross.project_memory(*memory) if self.reads_memory else None

    def _rest(self, x, projected, memory_mask, deterministic):
        def cross(y):
            query = self.cross.project_query(y)
            found, weights = self.cross.read(query, *projected, memory_mask, deterministic)
            sow_weights(self, weights)
            return found

        if projected is not None:
            x = self.cross_residual(x, cross, deterministic)
        return self.inner_residual(x, lambda y: self.inner(y, deterministic), deterministic)
