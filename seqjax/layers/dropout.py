"""Dropout whose mask is a hash of the position: no random bits are drawn or stored."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dropout(nn.Module):
    """Sets a share of the values to zero and scales the rest (Srivastava et al., 2014).

        y_i = x_i m_i / (1 - rate),   m_i = [hash(i, key) >= rate 2^32]

    The mask of value i depends on the key and i alone, however the array is sharded over devices.
    It costs a few integer operations, which XLA fuses with their neighbours in the forward and the
    backward pass. A random generator would fill an array and keep it, which is slow on a CPU.

    Attributes:
      rate: probability of zero, in [0, 1).
      shared: axes along which the mask is constant.
    """

    rate: float
    shared: tuple[int, ...] = ()

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        # The rate is traced when trainings with several rates share one program.
        if deterministic or (isinstance(self.rate, float) and self.rate == 0.0):
            return x
        rate = jnp.float32(self.rate)
        shape = tuple(1 if axis in self.shared else size for axis, size in enumerate(x.shape))
        hashed = hash_bits(self.make_rng("dropout"), shape)
        threshold = jnp.round(rate * jnp.float32(2**32)).astype(jnp.uint32)
        # In bfloat16 the scale, and with it the mean, would be off by up to 0.4 %.
        scaled = (x * (1.0 / (1.0 - rate))).astype(x.dtype)
        return jnp.where(hashed >= threshold, scaled, jnp.zeros((), x.dtype))


def hash_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Returns 32 well-mixed bits, uint32 [shape], for each position of an array.

    Applies the finalizer of MurmurHash3 (Appleby, 2011) twice, each time after mixing in a part of
    the key. The finalizer is a bijection of 32 bits; each input bit flips each output bit with a
    probability near one half.
    """
    index = jnp.zeros((), jnp.uint32)
    for axis, size in enumerate(shape):
        index = index * jnp.uint32(size) + jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    first, second = jax.random.bits(key, (2,), jnp.uint32)
    return _mix(_mix(index ^ first) + second)


def _mix(x: jax.Array) -> jax.Array:
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
