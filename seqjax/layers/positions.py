"""Where in a sequence a vector stands."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def sinusoids(length: int, width: int) -> np.ndarray:
    """Returns the position vectors [length, width] of Vaswani et al. (2017), section 3.5.

        p[t, i] = sin(t / 10000^(i / (D/2 - 1))),   p[t, D/2 + i] = cos(of the same),   i < D/2

    Sines and cosines stand in two halves, as in fairseq; interleaving them, as the paper does, is a
    permutation of the width.
    """
    half = width // 2
    frequencies = np.exp(-np.log(10000.0) * np.arange(half) / max(half - 1, 1))
    angles = np.arange(length)[:, None] * frequencies[None, :]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


class Positions(nn.Module):
    """Adds absolute positions to vectors.

    Beyond a learned table, which only padding and targets that are scored can be, its last vector
    is repeated.

    Attributes:
      kind: 'sinusoidal' (fixed) or 'learned' (Gehring et al., 2017).
      max_positions: entries of a learned table.
    """

    kind: str
    max_positions: int = 512

    @nn.compact
    def __call__(self, x: jax.Array, start: jax.Array | int = 0, capacity: int | None = None):
        """Adds the vectors of positions start, start+1, ... along axis 1 of x [B, T, D].

        Args:
          x: float [B, T, D].
          start: position of x[:, 0]; may be traced.
          capacity: positions that can occur when `start` is traced; T by default.
        """
        length, width = x.shape[1], x.shape[2]
        capacity = capacity or length
        if self.kind == "learned":
            table = self.param(
                "table",
                nn.initializers.normal(width**-0.5),
                (self.max_positions, width),
                jnp.float32,
            )
        else:
            table = jnp.asarray(sinusoids(capacity, width))
        rows = jnp.minimum(start + jnp.arange(length), table.shape[0] - 1)
        return x + table[rows].astype(x.dtype)
