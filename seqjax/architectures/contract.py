"""The interface of encoders, decoders and search.

A decoder has two views of one function. The parallel view maps a memory and all
target positions to logits at once, for training; the recurrent view reads the
same positions one at a time, for search:

    logits[:, t] of  decoder(memory, targets)
      ==  logits of the t-th  decoder.step(carry, targets[:, t])

A language model is a decoder that ignores the memory; it is given `no_memory`.

Shape suffixes: B batch, S source, T target, L capacity, K hypotheses, D width, H heads,
P width of a head, F feed-forward, V vocabulary, N n-best.
"""

from typing import Any

import flax
import jax
import jax.numpy as jnp

PyTree = Any


@flax.struct.dataclass
class Memory:
    """The encoded source, as a decoder reads it.

    Attributes:
      states: float [B, S, D], one vector for each source position; queries are compared with them.
      values: float [B, S, D], the vectors that attention averages; in most encoders the states.
      mask: bool [B, S], true at real positions.
      summary: float [B, W], one vector for the whole source.
      last: the last states of each layer of a recurrent encoder, None for other encoders.
    """

    states: jax.Array
    values: jax.Array
    mask: jax.Array
    summary: jax.Array
    last: PyTree = None


def remember(states_BxSxD: jax.Array, mask_BxS: jax.Array, **others: PyTree) -> Memory:
    """Returns a memory; by default its values are the states, its summary their mean."""
    fields = {"values": states_BxSxD, **others}
    if "summary" not in fields:
        weights_BxSx1 = mask_BxS[..., None].astype(jnp.float32)
        total_BxD = jnp.sum(fields["values"].astype(jnp.float32) * weights_BxSx1, axis=1)
        count_Bx1 = jnp.maximum(jnp.sum(weights_BxSx1, axis=1), 1)
        fields["summary"] = (total_BxD / count_Bx1).astype(states_BxSxD.dtype)
    return Memory(states=states_BxSxD, mask=mask_BxS, **fields)


def no_memory(rows: int) -> Memory:
    """Returns the empty memory of a language model: no positions, and a summary of width 0."""
    states_Bx0x0 = jnp.zeros((rows, 0, 0))
    return Memory(
        states=states_Bx0x0,
        values=states_Bx0x0,
        mask=jnp.zeros((rows, 0), bool),
        summary=jnp.zeros((rows, 0)),
    )


@flax.struct.dataclass
class Carry:
    """The state of K hypotheses for each of B sentences between two steps of a search.

    Attributes:
      fixed: leaves [B, ...] that belong to the sentence, such as cross-attention keys and caches
        indexed by slot. A step may write to them; reordering a beam does not move them.
      moving: leaves [B, K, ...] that follow their hypothesis, such as hidden states.
      position: int32 [B], number of tokens read so far; rows may differ.
    """

    fixed: PyTree
    moving: PyTree
    position: jax.Array


def reorder(carry: Carry, parents_BxK: jax.Array) -> Carry:
    """Makes hypothesis k of each sentence b continue hypothesis `parents[b, k]`."""

    def select(leaf):
        index = parents_BxK.reshape(parents_BxK.shape + (1,) * (leaf.ndim - 2))
        return jnp.take_along_axis(leaf, index, axis=1)

    return carry.replace(moving=jax.tree.map(select, carry.moving))
