import jax
import jax.numpy as jnp
import numpy as np

from seqjax.architectures.continuous_cache import Cache, mixed, without
from seqjax.data.tokenizer import PAD

_SHARE, _FLATNESS, _ENTRIES = 0.3, 0.7, 4


def _case():
    draw = np.random.RandomState(0)
    logits, vectors = draw.standard_normal((2, 9, 6)), draw.standard_normal((2, 9, 3))
    targets = draw.randint(1, 6, (2, 9))
    targets[1, 7:] = PAD
    return jnp.asarray(logits), jnp.asarray(vectors), jnp.asarray(targets, jnp.int32)


def _by_hand(logits, vectors, targets, t):
    """Returns the distribution at position t of one row, position by position."""
    model = np.exp(logits[t]) / np.exp(logits[t]).sum()
    past = [i for i in range(max(t - _ENTRIES, 0), t) if targets[i] != PAD]
    if not past:
        return model
    weights = np.exp([_FLATNESS * vectors[t] @ vectors[i] for i in past])
    cached = np.zeros_like(model)
    for i, weight in zip(past, weights / weights.sum(), strict=True):
        cached[targets[i]] += weight
    return (1 - _SHARE) * model + _SHARE * cached


def test_the_cache_is_the_past_positions_by_their_likeness():
    case = _case()
    found, _ = mixed(*case, Cache.empty(2, _ENTRIES, 3), _SHARE, _FLATNESS)
    for row in range(2):
        for t in range(9):
            logits, vectors = (np.asarray(part[row], np.float64) for part in case[:2])
            expected = _by_hand(logits, vectors, np.asarray(case[2][row]), t)
            np.testing.assert_allclose(np.exp(found[row, t]), expected, atol=1e-6)
    np.testing.assert_allclose(np.exp(found).sum(axis=-1), 1.0, atol=1e-6)


def test_blocks_give_what_the_whole_gives_and_a_fresh_row_forgets():
    case = _case()
    step = jax.jit(lambda cache, *parts: mixed(*parts, cache, _SHARE, _FLATNESS))
    whole, last = step(Cache.empty(2, _ENTRIES, 3), *case)
    cache, parts = Cache.empty(2, _ENTRIES, 3), []
    for begin, end in ((0, 1), (1, 6), (6, 9)):
        found, cache = step(cache, *(part[:, begin:end] for part in case))
        parts.append(found)
    np.testing.assert_allclose(jnp.concatenate(parts, axis=1), whole, atol=1e-6)
    np.testing.assert_array_equal(cache.tokens, last.tokens)
    fresh = without(cache, jnp.asarray([True, False]))
    again, _ = step(fresh, *case)
    np.testing.assert_allclose(again[0], whole[0], atol=1e-6)
    assert np.abs(again[1, 0] - whole[1, 0]).max() > 0.01
