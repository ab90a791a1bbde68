"""The interface of encoders, decoders and search.

A model is a stem, which maps tokens to vectors (`stems`), stacks, which map vectors to vectors
(`families`), and a head, which maps vectors to logits (`heads`).

A decoder has two views of one function, with or without stem and head. The parallel view reads a
memory and all target positions at once, for training; the recurrent view reads the same positions
one at a time, for search:

    result[:, t] of  decoder(memory, targets)[0]
      ==  result of the t-th  decoder.step(carry, targets[:, t])

A third view reads a prompt: `prefill` advances a carry by several positions at once, and returns
the result for the last.

A language model is a decoder that ignores the memory; it is given `no_memory`.

Shape suffixes: B batch, S source, T target, L capacity, K hypotheses, D width, H heads,
P width of a head, F feed-forward, V vocabulary, N n-best.
"""

from typing import Any, NamedTuple

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


class Place(NamedTuple):
    """Where the tokens of the parallel view lie; by default each row begins a sequence.

    Attributes:
      carry: what the parallel view returned for the block before; () before the first block.
      fresh: bool [B], rows that begin a sequence whatever their carry; None for none.
      position: int32 [B, T], positions of the tokens, all below T; None for 0, 1, ..., T - 1.
      segment: int32 [B, T]; only tokens of one segment see each other. None for one segment.
      prefix: int32 [B]; so many tokens at the beginning of a row see each other in both directions,
        in a Transformer. None for none.
    """

    carry: PyTree = ()
    fresh: jax.Array | None = None
    position: jax.Array | None = None
    segment: jax.Array | None = None
    prefix: jax.Array | None = None


BEGINNING = Place()


def resumed(place: Place, start: PyTree) -> PyTree:
    """Returns the carry of a place, where `start` has that of the rows that begin a sequence."""
    if not jax.tree.leaves(place.carry):
        return start
    if place.fresh is None:
        return place.carry

    def choose(new, old):
        return jnp.where(place.fresh.reshape((-1,) + (1,) * (old.ndim - 1)), new, old)

    return jax.tree.map(choose, start, place.carry)


def refuse_segments(place: Place) -> None:
    """Raises ValueError if a place has segments, which a state would carry over."""
    if place.segment is not None:
        raise ValueError("segment: expected None, since only Transformers hide other segments")


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


def last_of(x_BxPxD: jax.Array, lengths_B: jax.Array) -> jax.Array:
    """Returns the vector [B, 1, D] of the last position of each prompt."""
    last_Bx1x1 = jnp.maximum(lengths_B - 1, 0)[:, None, None]
    return jnp.take_along_axis(x_BxPxD, last_Bx1x1, axis=1)


def for_all(x_Bx1xV: jax.Array, hypotheses: int) -> jax.Array:
    """Repeats an array [B, 1, ...] for each of K hypotheses."""
    return jnp.broadcast_to(x_Bx1xV, (len(x_Bx1xV), hypotheses, *x_Bx1xV.shape[2:]))
