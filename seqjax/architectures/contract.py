"""What every encoder, decoder and search agree on.

A decoder is one function seen twice. The parallel view maps a memory and all
target positions to logits at once, for training; the recurrent view walks the
same positions one at a time, for search:

    logits[:, t] of  decoder(memory, targets)
      ==  logits of the t-th  decoder.step(carry, targets[:, t])

A language model is a decoder without a memory: what it is given as one is `no_memory`.

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
    """What a decoder may know of the source.

    Attributes:
      states: float [B, S, D], one vector for each source position: what queries are compared with.
      values: float [B, S, D], what is then read; in most encoders the states.
      mask: bool [B, S], true at real positions.
      summary: float [B, W], the source as a whole.
      last: the last states of each layer of a recurrent encoder; None of others.
    """

    states: jax.Array
    values: jax.Array
    mask: jax.Array
    summary: jax.Array
    last: PyTree = None


def remember(states_BxSxD: jax.Array, mask_BxS: jax.Array, **others: PyTree) -> Memory:
    """Returns a memory that is read as it is compared, summed up by its mean if not otherwise."""
    fields = {"values": states_BxSxD, **others}
    if "summary" not in fields:
        weights_BxSx1 = mask_BxS[..., None].astype(jnp.float32)
        total_BxD = jnp.sum(fields["values"].astype(jnp.float32) * weights_BxSx1, axis=1)
        count_Bx1 = jnp.maximum(jnp.sum(weights_BxSx1, axis=1), 1)
        fields["summary"] = (total_BxD / count_Bx1).astype(states_BxSxD.dtype)
    return Memory(states=states_BxSxD, mask=mask_BxS, **fields)


def no_memory(rows: int) -> Memory:
    """Returns the memory of sentences without a source: no positions, and a summary of nothing."""
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
      fixed: leaves [B, ...], belonging to the sentence: a step may write to them, but they
        stay where they are when a beam is reordered (cross-attention keys, slot-indexed caches).
      moving: leaves [B, K, ...], following their hypothesis: hidden states, windows.
      position: int32 [], tokens consumed so far.
    """

    fixed: PyTree
    moving: PyTree
    position: jax.Array


def reorder(carry: Carry, parents_BxK: jax.Array) -> Carry:
    """Lets hypothesis k of each sentence continue what hypothesis `parents[b, k]` was."""

    def select(leaf):
        index = parents_BxK.reshape(parents_BxK.shape + (1,) * (leaf.ndim - 2))
        return jnp.take_along_axis(leaf, index, axis=1)

    return carry.replace(moving=jax.tree.map(select, carry.moving))
