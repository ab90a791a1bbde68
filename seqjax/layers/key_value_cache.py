"""The keys and values of past positions, kept for one step after the other.

K hypotheses of L positions have L K slots; that of hypothesis k at position t has the index
t K + k. Keys are kept as [B, N, P, L K], which a product with queries reads row by row, and values
as [B, N, L K, P].

Shape suffixes: B batch, N heads of keys and values, P width of a head, T positions, L capacity,
K hypotheses.
"""

import functools

import jax
import jax.numpy as jnp


def empty_cache(
    batch: int, heads: int, size: int, capacity: int, hypotheses: int, dtype: jnp.dtype
) -> tuple[jax.Array, jax.Array]:
    """Returns keys and values of no positions yet."""
    slots = capacity * hypotheses
    keys = jnp.zeros((batch, heads, size, slots), dtype)
    return keys, jnp.zeros((batch, heads, slots, size), dtype)


def write(
    cache: tuple[jax.Array, jax.Array],
    key_BxNxKxP: jax.Array,
    value_BxNxKxP: jax.Array,
    position_B: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Returns a cache with one more position of all hypotheses, for each row at its own."""
    slot_B = position_B * key_BxNxKxP.shape[2]

    def update(cache, new, axis):
        function = functools.partial(jax.lax.dynamic_update_slice_in_dim, axis=axis)
        return jax.vmap(function)(cache, new, slot_B)

    keys, values = cache
    return update(keys, key_BxNxKxP.swapaxes(2, 3), 2), update(values, value_BxNxKxP, 1)


def fill(
    cache: tuple[jax.Array, jax.Array],
    keys_BxNxTxP: jax.Array,
    values_BxNxTxP: jax.Array,
    position_B: jax.Array,
    lengths_B: jax.Array,
    hypotheses: int,
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Writes a block of positions into the slots of hypothesis 0.

    Returns the cache, and the keys and values [B, N, L, P] of that hypothesis.

    Args:
      cache: keys and values.
      keys_BxNxTxP: keys of the block.
      values_BxNxTxP: its values.
      position_B: position of the first one of each row.
      lengths_B: how many of a row's T positions are written.
      hypotheses: K.
    """
    keys, values = cache
    batch, heads, slots, size = values.shape
    times_L = jnp.arange(slots // hypotheses)
    offset_BxL = times_L - position_B[:, None]
    inside = ((offset_BxL >= 0) & (offset_BxL < lengths_B[:, None]))[:, None, :, None]
    offset = jnp.clip(offset_BxL, 0, keys_BxNxTxP.shape[2] - 1)[:, None, :, None]

    def put(slots_BxNxLxKxP, block_BxNxTxP):
        moved_BxNxLxP = jnp.take_along_axis(block_BxNxTxP, offset, axis=2)
        own_BxNxLxP = jnp.where(inside, moved_BxNxLxP, slots_BxNxLxKxP[:, :, :, 0])
        slots_BxNxLxKxP = slots_BxNxLxKxP.at[:, :, :, 0].set(own_BxNxLxP)
        return slots_BxNxLxKxP.reshape(batch, heads, slots, size), own_BxNxLxP

    shape = (batch, heads, slots // hypotheses, hypotheses, size)
    keys, own_keys = put(keys.swapaxes(2, 3).reshape(shape), keys_BxNxTxP)
    values, own_values = put(values.reshape(shape), values_BxNxTxP)
    return (keys.swapaxes(2, 3), values), (own_keys, own_values)
