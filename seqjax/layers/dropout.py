"""Dropout whose mask is a hash of the position: no random bits are drawn or stored."""

import contextlib
import contextvars
from collections.abc import Iterator

import flax.linen as nn
import jax
import jax.numpy as jnp

# Which rows of the batch the first axis of an array holds: (first, every), see `rows_of_batch`.
_rows = contextvars.ContextVar("rows", default=(0, 1))


@contextlib.contextmanager
def rows_of_batch(first: jax.Array | int, every: int) -> Iterator[None]:
    """Row i of an array is row `first + every * i` of the batch for the masks traced meanwhile.

    The mask of a row depends on its number in the batch, so that a batch in parts has the masks of
    the whole.
    """
    before = _rows.set((first, every))
    try:
        yield
    finally:
        _rows.reset(before)


class Dropout(nn.Module):
    """Sets a share of the values to zero and scales the rest (Srivastava et al., 2014).

        y_i = x_i m_i / (1 - rate),   m_i = [hash(i, key) >= rate 2^32]

    The mask of value i depends on the key and i alone, however the array is sharded over devices;
    its first axis has the rows of a batch, or some of them (`rows_of_batch`).
    It costs a few integer operations, which XLA fuses with their neighbours in the forward and the
    backward pass. A random generator would fill an array and keep it, which is slow on a CPU.

    Attributes:
      rate: probability of zero, in [0, 1).
      shared: axes along which the mask is constant.
      by_row: whether the first axis has rows of a batch; False for parameters.
    """

    rate: float
    shared: tuple[int, ...] = ()
    by_row: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        # The rate is traced when trainings with several rates share one program.
        if deterministic or (isinstance(self.rate, float) and self.rate == 0.0):
            return x
        rate = jnp.float32(self.rate)
        shape = tuple(1 if axis in self.shared else size for axis, size in enumerate(x.shape))
        rows = _rows.get() if self.by_row else ()
        hashed = hash_bits(self.make_rng("dropout"), shape, *rows)
        threshold = jnp.round(rate * jnp.float32(2**32)).astype(jnp.uint32)
        # In bfloat16 the scale, and with it the mean, would be off by up to 0.4 %.
        scaled = (x * (1.0 / (1.0 - rate))).astype(x.dtype)
        return jnp.where(hashed >= threshold, scaled, jnp.zeros((), x.dtype))


def hash_bits(
    key: jax.Array, shape: tuple[int, ...], first: jax.Array | int = 0, every: int = 1
) -> jax.Array:
    """Returns 32 well-mixed bits, uint32 [shape], for each position of an array.

    The array holds the rows first, first + every, first + 2 every, ... of a larger one.

    Applies the finalizer of MurmurHash3 (Appleby, 2011) twice, each time after mixing in a part of
    the key. The finalizer is a bijection of 32 bits; each input bit flips each output bit with a
    probability near one half.
    """
    index = jnp.zeros((), jnp.uint32)
    for axis, size in enumerate(shape):
        along = jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
        if axis == 0 and every != 1:
            along = along * jnp.uint32(every) + jnp.asarray(first, jnp.uint32)
        index = index * jnp.uint32(size) + along
    first, second = jax.random.bits(key, (2,), jnp.uint32)
    return _mix(_mix(index ^ first) + second)


def _mix(x: jax.Array) -> jax.Array:
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
