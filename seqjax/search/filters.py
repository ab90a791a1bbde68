"""Filters of a next-token distribution, by which sampling avoids improbable tokens.

A filter maps logits [..., V] to logits of the same shape. It keeps at least one token; those that
it removes get -inf. Its neutral value returns the logits unchanged, bit for bit. `apply_filters`
composes them in the order of transformers:

    repetition penalty, temperature, top-k, top-p, min-p, typical

Each reads the distribution that the one before it left, renormalized. Among tokens that a filter
cannot distinguish, those with lower ids are kept, so top-k keeps exactly k and top-k = 1 is greedy.

Shape suffix: V vocabulary.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Filters(NamedTuple):
    """The numbers of all filters; the defaults are neutral. Each may be traced, except `top_k`."""

    temperature: float | jax.Array = 1.0
    top_k: int = 0
    top_p: float | jax.Array = 1.0
    min_p: float | jax.Array = 0.0
    typical_p: float | jax.Array = 1.0
    repetition_penalty: float | jax.Array = 1.0


def apply_filters(logits: jax.Array, filters: Filters, seen: jax.Array | None = None) -> jax.Array:
    """Applies all filters in the order above; those with neutral constants cost nothing.

    Args:
      logits: float32 [..., V].
      filters: the numbers.
      seen: bool [..., V], tokens of prompt and output so far; needed for the repetition penalty.
    """
    if not is_constant(filters.repetition_penalty, 1):
        logits = repetition_penalty(logits, filters.repetition_penalty, seen)
    if not is_constant(filters.temperature, 1):
        logits = temperature(logits, filters.temperature)
    logits = top_k(logits, filters.top_k)
    if not is_constant(filters.top_p, 1):
        logits = top_p(logits, filters.top_p)
    if not is_constant(filters.min_p, 0):
        logits = min_p(logits, filters.min_p)
    if not is_constant(filters.typical_p, 1):
        logits = typical_p(logits, filters.typical_p)
    return logits


def is_constant(number: float | jax.Array, value: float) -> bool:
    """Returns whether a number has this value and is not traced."""
    return isinstance(number, int | float) and number == value


def repetition_penalty(logits: jax.Array, penalty: float | jax.Array, seen: jax.Array) -> jax.Array:
    """Makes tokens that have occurred less probable.

        l_i / penalty   if l_i >= 0        l_i * penalty   if l_i < 0        for i in seen

    The paper divides all logits (Keskar et al., 2019); negative ones would then grow, so they are
    multiplied, as in transformers. Adding a constant to all logits keeps the distribution, but
    changes the effect of the penalty. 1 is neutral; less than 1 rewards repetition.
    """
    changed = jnp.where(logits < 0, logits * penalty, logits / penalty)
    return jnp.where(seen & (penalty != 1), changed, logits)


def temperature(logits: jax.Array, value: float | jax.Array) -> jax.Array:
    """Sharpens (below 1) or flattens (above 1) a distribution; 1 is neutral.

        p_i ~ exp(l_i / value)

    At 0 the limit is returned: the most probable tokens share everything equally.
    """
    below = logits - jnp.max(logits, axis=-1, keepdims=True)
    # The largest logit becomes 0, so that no small value makes it infinite.
    scaled = jnp.where(below == 0, 0.0, below / value)
    return jnp.where(value == 1, logits, scaled)


def top_k(logits: jax.Array, k: int) -> jax.Array:
    """Keeps the k most probable tokens (Fan et al., 2018); 0, or k >= V, keeps all."""
    if not 0 < k < logits.shape[-1]:
        return logits
    least = jax.lax.top_k(logits, k)[0][..., -1:]
    return _kept(logits, _largest(logits, least, k))


def top_p(logits: jax.Array, p: float | jax.Array) -> jax.Array:
    """Keeps the smallest set of most probable tokens with at least probability p; 1 keeps all.

    It is called the nucleus (Holtzman et al., 2020).
    """
    ordered = jnp.sort(logits, axis=-1, descending=True)
    count = _count(jax.nn.softmax(ordered, axis=-1), p)
    least = jnp.take_along_axis(ordered, count - 1, axis=-1)
    return _kept(logits, _largest(logits, least, count) | (p >= 1))


def min_p(logits: jax.Array, p: float | jax.Array) -> jax.Array:
    """Keeps the tokens with p_i >= p * max_j p_j (Nguyen et al., 2024); 0 keeps all."""
    below = logits - jnp.max(logits, axis=-1, keepdims=True)
    return _kept(logits, below >= jnp.log(jnp.asarray(p, logits.dtype)))


def typical_p(logits: jax.Array, p: float | jax.Array) -> jax.Array:
    """Keeps the tokens whose information is nearest to the entropy (Meister et al., 2023).

        |-log p_i - H|,   H = -sum_j p_j log p_j

    It keeps the smallest set of least distance with at least probability p; 1 keeps all.
    """
    log_p = jax.nn.log_softmax(logits, axis=-1)
    shares = jnp.exp(log_p)
    entropy = -jnp.sum(jnp.where(shares > 0, shares * log_p, 0.0), axis=-1, keepdims=True)
    distance = jnp.abs(log_p + entropy)
    ordered, shares = jax.lax.sort((distance, shares), dimension=-1, is_stable=True, num_keys=1)
    count = _count(shares, p)
    farthest = jnp.take_along_axis(ordered, count - 1, axis=-1)
    return _kept(logits, _largest(-distance, -farthest, count) | (p >= 1))


def _kept(logits: jax.Array, keep: jax.Array) -> jax.Array:
    return jnp.where(keep, logits, -jnp.inf)


def _count(shares: jax.Array, p: float | jax.Array) -> jax.Array:
    """Returns how many tokens, in this order, have probability p together; at least 1."""
    before = jnp.cumsum(shares, axis=-1)[..., :-1]
    return 1 + jnp.sum(before < p, axis=-1, keepdims=True)


def _largest(scores: jax.Array, least: jax.Array, count: int | jax.Array) -> jax.Array:
    """Marks the `count` largest scores, the first of equal ones; `least` is the smallest."""
    above, equal = scores > least, scores == least
    room = count - jnp.sum(above, axis=-1, keepdims=True)
    return above | (equal & (jnp.cumsum(equal, axis=-1) <= room))
