"""Positions in a sequence: added to vectors, or used as relations by self-attention.

Shape suffixes: B batch, T queries, S keys, H heads, P width of a head.
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

# Buckets of relative positions, as in T5; all distances beyond the largest share one.
BUCKETS, LAST_DISTANCE = 32, 128


def sinusoids(length: int, width: int) -> np.ndarray:
    """Returns the position vectors [length, width] of tensor2tensor and fairseq.

        p[t, i] = sin(t / 10000^(i / (D/2 - 1))),   p[t, D/2 + i] = cos(of the same),   i < D/2

    Vaswani et al. (2017), section 3.5, have the exponent i / (D/2) and interleave sines and
    cosines, a permutation of the width.
    """
    half = width // 2
    frequencies = np.exp(-np.log(10000.0) * np.arange(half) / max(half - 1, 1))
    angles = np.arange(length)[:, None] * frequencies[None, :]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)


class Positions(nn.Module):
    """Adds absolute positions to vectors.

    Beyond the end of a learned table its last vector is repeated. Tasks limit sources and outputs
    to the table, so this affects only padding and references longer than any output.

    Attributes:
      kind: 'sinusoidal' (fixed) or 'learned' (Gehring et al., 2017); other kinds add nothing.
      max_positions: number of entries of a learned table.
    """

    kind: str
    max_positions: int = 512

    @nn.compact
    def __call__(
        self, x: jax.Array, positions: jax.Array | None = None, capacity: int | None = None
    ) -> jax.Array:
        """Adds the vectors of positions to x [B, T, D].

        Args:
          x: float [B, T, D].
          positions: int32 [T] or [B, T], or [B, 1] if all T vectors of a row have one position; by
            default 0, 1, ..., T - 1.
          capacity: number of possible positions; T by default.
        """
        if self.kind not in ("sinusoidal", "learned"):
            return x
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
        positions = jnp.arange(length) if positions is None else positions
        rows = jnp.minimum(positions, table.shape[0] - 1)
        return x + table[rows].astype(x.dtype)


class PairwisePositions(NamedTuple):
    """How self-attention depends on the distance between queries and keys.

    Attributes:
      bias: float32 [1 or B, H, T, S], added to the scores; None for no bias.
      angles: float32 [T, P / 2] or [B, T, P / 2], by which `turn` rotates each position; None for
        no rotation.
    """

    bias: jax.Array | None = None
    angles: jax.Array | None = None


NO_PAIRWISE = PairwisePositions()


class RelativePositions(nn.Module):
    """The relation between positions of one stack, shared by all its layers.

        relative: score = q . k / sqrt(P) + table[bucket(j - i), h]     (Raffel et al., 2020)
        alibi:    score = q . k / sqrt(P) - slope_h |j - i|             (Press et al., 2022)
        rotary:   score = turn(q, i) . turn(k, j) / sqrt(P)             (Su et al., 2021)

    T5 moves the factor 1/sqrt(P) into the initial weights; here all kinds keep it. Press et al.
    have only j <= i; an encoder uses the same slopes on both sides.

    Attributes:
      kind: 'relative', 'alibi' or 'rotary'; other kinds have no relation.
      width: size of the vectors.
      heads: number H of query heads.
      causal: whether all keys precede their queries, as in a decoder.
    """

    kind: str
    width: int
    heads: int
    causal: bool

    @nn.compact
    def __call__(self, queries: jax.Array, keys_S: jax.Array) -> PairwisePositions:
        """Returns the relation between the positions of queries and keys, int32, maybe traced.

        Args:
          queries: [T] or, if rows differ, [B, T].
          keys_S: the same for all rows.
        """
        if self.kind == "rotary":
            half = self.width // self.heads // 2
            frequencies = (10000.0 ** (-np.arange(half) / half)).astype(np.float32)
            return PairwisePositions(
                angles=jnp.asarray(queries, jnp.float32)[..., None] * frequencies
            )
        if self.kind not in ("relative", "alibi"):
            return NO_PAIRWISE
        # The rows of the batch, or one for all of them.
        distance_BxTxS = (keys_S - queries[..., None]).reshape(-1, queries.shape[-1], len(keys_S))
        if self.kind == "alibi":
            slopes_Hx1x1 = jnp.asarray(alibi_slopes(self.heads), jnp.float32)[:, None, None]
            return PairwisePositions(bias=-slopes_Hx1x1 * jnp.abs(distance_BxTxS)[:, None])
        init = nn.initializers.normal(self.width**-0.5)
        table = self.param("table", init, (BUCKETS, self.heads), jnp.float32)
        bias_BxTxSxH = table[relative_buckets(distance_BxTxS, self.causal)]
        return PairwisePositions(bias=bias_BxTxSxH.transpose(0, 3, 1, 2))


def relative_buckets(distance: jax.Array, causal: bool) -> jax.Array:
    """Returns the bucket of each distance j - i from a query to a key (Raffel et al., 2020).

    Half of the buckets of a side hold one distance each, the others ranges that grow in proportion
    to it. If keys are on both sides, those after the query have the upper half of the buckets.
    """
    side = BUCKETS if causal else BUCKETS // 2
    exact = side // 2
    buckets = list(range(exact))
    for far in range(exact, LAST_DISTANCE + 1):
        share = math.log(far / exact) / math.log(LAST_DISTANCE / exact)
        buckets.append(min(exact + int(share * (side - exact)), side - 1))
    # A table from the host: rounded differently on a device, a logarithm may cross an edge.
    before = jnp.asarray(buckets, jnp.int32)[jnp.clip(-distance, 0, LAST_DISTANCE)]
    if causal:
        return before
    after = jnp.asarray(buckets, jnp.int32)[jnp.clip(distance, 0, LAST_DISTANCE)]
    return jnp.where(distance > 0, side + after, before)


def alibi_slopes(heads: int) -> list[float]:
    """Returns the slopes of Press et al. (2022): 2^(-8/H), 2^(-16/H), ... if H is a power of two.

    For other H, the slopes for the next lower power of two are followed by every other slope for
    the next higher one.
    """
    power = 1 << heads.bit_length() - 1
    slopes = [2 ** (-8 * (head + 1) / power) for head in range(power)]
    return slopes + (alibi_slopes(2 * power)[::2][: heads - power] if heads > power else [])


def turn(x_BxHxTxP: jax.Array, angles: jax.Array | None) -> jax.Array:
    """Rotates pairs of entries of queries or keys by angles proportional to their position.

        y[i]       = x[i] cos a[i]       - x[P/2 + i] sin a[i],   a[i] = position / 10000^(2i/P)
        y[P/2 + i] = x[P/2 + i] cos a[i] + x[i] sin a[i]

    The product of two rotated vectors depends only on the distance of their positions (Su et al.,
    2021). Entries i and P/2 + i form a pair, as in GPT-NeoX; in the paper neighbours do, which is a
    permutation of the head. The angles are [T, P/2] or [B, T, P/2].
    """
    if angles is None:
        return x_BxHxTxP
    angles = angles[:, None] if angles.ndim == 3 else angles
    cos, sin = jnp.cos(angles), jnp.sin(angles)
    first, second = jnp.split(x_BxHxTxP.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x_BxHxTxP.dtype)
