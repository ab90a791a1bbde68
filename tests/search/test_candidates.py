import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.data.tokenizer import BOS, EOS, PAD
from seqjax.search.candidates import best_continuations
from seqjax.search.hypotheses import LOWEST

_compiled = jax.jit(best_continuations, static_argnums=1)


@pytest.mark.parametrize("vocabulary", [5, 100, 1600, 2003])
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("kind", ["smooth", "tied", "specials first", "impossible"])
def test_equals_a_stable_sort_of_the_whole_vocabulary(vocabulary, count, kind):
    limits, time, min_length = np.array([7, 3, 9]), 2, 3 if kind == "tied" else 0
    logits = np.sin(np.arange(6 * vocabulary) ** 1.3).reshape(3, 2, vocabulary) * 5
    if kind == "tied":
        logits = np.round(logits)
    if kind == "specials first":
        logits[..., :4] = 6.0, 9.0, 8.0, 7.0
    if kind == "impossible":
        logits[..., 3 : vocabulary - 2] = -np.inf
    logits = logits.astype(np.float32)
    best, tokens = _compiled(logits, count, time=time, limits_B=limits, min_length=min_length)
    expected = np.maximum(logits, LOWEST)
    expected[..., [PAD, BOS]] = 2 * LOWEST
    if time < min_length:
        expected[:, :, EOS] = 2 * LOWEST
    expected[1] = np.where(np.arange(vocabulary) == EOS, logits[1], 2 * LOWEST)
    order = np.argsort(-expected, axis=-1, kind="stable")[..., :count]
    chosen = np.take_along_axis(expected, order, axis=-1)
    allowed = chosen >= LOWEST
    np.testing.assert_array_equal(np.asarray(tokens)[allowed], order[allowed])
    normalizer = np.log(np.exp(logits.astype(np.float64)).sum(axis=-1, keepdims=True))
    np.testing.assert_allclose(np.asarray(best), chosen - normalizer, rtol=1e-5, atol=1e-5)


def test_of_equal_tokens_in_many_blocks_the_lowest_win():
    logits = jnp.zeros((1, 1, 4096)).at[..., :64].set(-1.0).at[..., 3000].set(1.0)
    _, tokens = best_continuations(
        logits, 5, time=jnp.int32(0), limits_B=jnp.array([9]), min_length=0
    )
    assert tokens[0, 0].tolist() == [3000, 64, 65, 66, 67]
