"""Dropout that draws as few random bits as its rate needs."""

import flax.linen as nn
import jax
import jax.numpy as jnp

_LEVELS = 1 << 16


class Dropout(nn.Module):
    """Sets a share of the values to zero and scales the rest (Srivastava et al., 2014).

        y = x * m / (1 - rate),   m ~ Bernoulli(1 - rate)

    The mask comes from 16 random bits for each value, half of what `flax.linen.Dropout`
    draws: on a CPU the generator is a large part of a training step. The rate is rounded to a
    multiple of 2^-16.

    Attributes:
      rate: probability of zero, in [0, 1).
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, deterministic: bool) -> jax.Array:
        if deterministic or self.rate == 0.0:
            return x
        threshold = round(self.rate * _LEVELS)
        bits = jax.random.bits(self.make_rng("dropout"), x.shape, jnp.uint16)
        scale = _LEVELS / (_LEVELS - threshold)
        return jnp.where(bits >= threshold, x * jnp.asarray(scale, x.dtype), jnp.zeros((), x.dtype))
