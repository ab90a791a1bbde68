"""Attention of a recurrent decoder to its own past.

Shape suffixes: B batch, T positions, W window, H width.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqjax.layers.attention import ATTENTIONS, PreparedMemory


class Past(NamedTuple):
    """The last states of each row, the latest last.

    Attributes:
      states: float [B, W, H].
      count: int32 [B], how many of them, from the end, exist.
    """

    states: jax.Array
    count: jax.Array


class PastAttention(nn.Module):
    """Attends from each state to the W states before it (Salton et al., 2017).

        context[t] = sum over i of a[t, i] h[i],    a[t] = softmax over i of score(h[t], h[i]),
        t - W <= i < t

    The first context is zero. With a window the memory of a decoder stays constant; the paper
    attends to all states of a sentence.

    Attributes:
      kind: of the score, a key of `ATTENTIONS` that does not look back.
      width: H.
      window: W.
      inner, heads, dtype: as in `Attention`.
    """

    kind: str
    width: int
    window: int
    inner: int = 0
    heads: int = 1
    dtype: jnp.dtype = jnp.float32

    def setup(self):
        self.attend = ATTENTIONS[self.kind](self.width, self.inner, self.heads, self.dtype)

    def empty(self, rows: int) -> Past:
        """Returns the past before the first position."""
        states = jnp.zeros((rows, self.window, self.width), self.dtype)
        return Past(states, jnp.zeros(rows, jnp.int32))

    def __call__(
        self, states_BxTxH: jax.Array, past: Past, lengths_B: jax.Array | None = None
    ) -> tuple[jax.Array, Past]:
        """Returns the contexts [B, T, H] of states, and the past after them.

        Args:
          states_BxTxH: the states of consecutive positions.
          past: that before the first of them.
          lengths_B: how many of the positions of each row count; None for all.
        """
        batch, length, width = states_BxTxH.shape
        known = jnp.concatenate([past.states, states_BxTxH.astype(self.dtype)], axis=1)
        # Position t reads entries t to t + W - 1, of which those before the past are missing.
        window_TxW = jnp.arange(length)[:, None] + jnp.arange(self.window)
        exists_BxTxW = window_TxW >= self.window - past.count[:, None, None]
        prepared = self.attend.prepare(known, known, jnp.ones(known.shape[:2], bool))
        rows = batch * length

        def unfold(leaf):
            return leaf[:, window_TxW].reshape(rows, self.window, *leaf.shape[2:])

        memory = PreparedMemory(
            jax.tree.map(unfold, prepared.keys),
            unfold(prepared.values),
            exists_BxTxW.reshape(rows, self.window),
        )
        context, _ = self.attend(states_BxTxH.reshape(rows, 1, width), memory)
        context = context.reshape(batch, length, width)
        context = jnp.where(exists_BxTxW.any(axis=-1)[..., None], context, 0)
        lengths_B = jnp.full(batch, length) if lengths_B is None else lengths_B
        last_BxW = lengths_B[:, None] + jnp.arange(self.window)
        states = jnp.take_along_axis(known, last_BxW[..., None], axis=1)
        return context, Past(states, jnp.minimum(past.count + lengths_B, self.window))
