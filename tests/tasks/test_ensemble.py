"""An ensemble of a Transformer and an LSTM, which have nothing but their tokenizers in common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.data.tokenizer import BOS, EOS, PAD
from seqjax.tasks.ensemble import Ensemble
from seqjax.tasks.text_to_text import TextToText

SOURCE = np.array([[5, 9, 4, EOS], [8, 6, EOS, PAD]], np.int32)
TARGET = np.array([[4, 5, 7, 6, EOS], [9, 7, EOS, PAD, PAD]], np.int32)
BATCH = {"source": SOURCE, "target": TARGET}


@pytest.fixture(scope="module")
def members(tiny_task, filled):
    """The tasks, and their parameters."""
    transformer = tiny_task()
    config = transformer.config.copy_and_resolve_references()
    for stack in (config.model.encoder, config.model.decoder):
        stack.kind = "lstm"
    config.model.decoder.attention = "additive"
    tasks = [transformer, TextToText(config, transformer.tokenizers)]
    shapes = [jax.eval_shape(task.init, jax.random.key(0)) for task in tasks]
    return tasks, tuple(map(filled, shapes))


@pytest.mark.slow
def test_a_score_is_that_of_the_mean_probability(members):
    tasks, params = members
    read = np.concatenate([np.full((2, 1), BOS), TARGET[:, :-1]], axis=1)
    probabilities = [
        jax.nn.softmax(jax.jit(task.model.apply)({"params": own}, SOURCE, read))
        for task, own in zip(tasks, params, strict=True)
    ]
    assert np.abs(probabilities[0] - probabilities[1]).max() > 0.05
    mean = np.mean(probabilities, axis=0)
    chosen = np.log(np.take_along_axis(mean, TARGET[..., None], axis=2)[..., 0])
    found, _ = jax.jit(Ensemble(tasks).score)(params, BATCH)
    np.testing.assert_allclose(found["nll"], -np.sum(chosen * (TARGET != PAD), axis=1), rtol=1e-5)
    np.testing.assert_array_equal(found["tokens"], [5, 3])


def test_both_views_agree(members):
    tasks, params = members
    ensemble = Ensemble(tasks)
    carry = jax.jit(ensemble.start, static_argnums=(2, 3))(params, SOURCE, 2, 5)
    step, total = jax.jit(ensemble.step), np.zeros(2)
    last = np.full(2, BOS)
    for token in TARGET.T:
        carry, logits = step(params, carry, jnp.asarray(np.stack([last, last], axis=1)))
        # The logarithms are of probabilities that sum to one; both hypotheses are the same so far.
        np.testing.assert_allclose(jax.nn.logsumexp(logits, axis=-1), 0.0, atol=1e-5)
        np.testing.assert_allclose(logits[:, 0], logits[:, 1], rtol=1e-5)
        total += np.where(token != PAD, np.asarray(logits)[[0, 1], 0, token], 0.0)
        last = token
    np.testing.assert_allclose(-total, jax.jit(ensemble.score)(params, BATCH)[0]["nll"], rtol=1e-5)


@pytest.mark.slow
def test_a_search_reorders_every_member(members):
    tasks, params = members
    ensemble = Ensemble(tasks)
    found = jax.jit(ensemble.search, static_argnums=2)(params, SOURCE, 2)
    score = jax.jit(ensemble.score)
    for row in range(2):
        for best in range(2):
            target = np.full((1, 8), PAD, np.int32)
            length = int(found.lengths[row, best])
            target[0, :length] = found.tokens[row, best, :length]
            alone, _ = score(params, {"source": SOURCE[row : row + 1], "target": target})
            np.testing.assert_allclose(
                found.log_probabilities[row, best], -alone["nll"][0], rtol=1e-5
            )
    assert not np.array_equal(found.tokens[:, 0], found.tokens[:, 1])


@pytest.mark.slow
def test_equal_members_are_one(members, tiny_task):
    task, params = members[0][0], members[1][0]
    one = jax.jit(task.search)(params, SOURCE)
    three = jax.jit(Ensemble([task] * 3).search)((params,) * 3, SOURCE)
    np.testing.assert_array_equal(one.tokens, three.tokens)
    np.testing.assert_allclose(one.scores, three.scores, rtol=1e-5)
    assert Ensemble([task, tiny_task(max_length_extra=1)]).max_output(4) == 5
