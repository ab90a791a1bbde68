"""Ensembles whose members have nothing but their tokenizers in common."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.architectures.ensemble import Ensemble
from seqjax.config import default_config
from seqjax.data.symbols import Symbols
from seqjax.data.tokenizer import BOS, EOS, PAD, Tokenizers
from seqjax.errors import UserError
from seqjax.tasks.language_model import LanguageModelling
from seqjax.tasks.task import Task
from seqjax.tasks.text_to_text import TextToText
from seqjax.training.trained import ensemble_of

SOURCE = np.array([[5, 9, 4, EOS], [8, 6, EOS, PAD]], np.int32)
# As wide as outputs may be, so that one program scores both.
TARGET = np.array([[4, 5, 7, 6, EOS, PAD, PAD], [9, 7, EOS] + [PAD] * 4], np.int32)
BATCH = {"source": SOURCE, "target": TARGET}


@pytest.fixture(scope="module")
def members(tiny_task, tiny_params):
    """An LSTM, and a Transformer that is decoder-only: the tasks, and their parameters."""
    transformer = tiny_task()
    config = transformer.config.copy_and_resolve_references()
    for stack in (config.model.encoder, config.model.decoder):
        stack.kind = "lstm"
    config.model.decoder.attention = "additive"
    alone = transformer.config.copy_and_resolve_references()
    alone.model.encoder.kind = "none"
    tasks = [TextToText(each, transformer.tokenizers) for each in (config, alone)]
    return tasks, list(map(tiny_params, tasks))


@pytest.fixture(scope="module")
def together(members):
    """The task of both, its parameters, and its score."""
    task = ensemble_of(members[0])
    return task, Ensemble.joined(members[1]), jax.jit(task.score)


@pytest.mark.slow
def test_a_score_is_that_of_the_mean_probability(members, together):
    tasks, params = members
    read = np.concatenate([np.full((2, 1), BOS), TARGET[:, :-1]], axis=1)
    compute = jax.jit(
        lambda params: [
            t.model.apply({"params": own}, SOURCE, read)
            for t, own in zip(tasks, params, strict=True)
        ]
    )
    probabilities = [jax.nn.softmax(logits) for logits in compute(params)]
    assert np.abs(probabilities[0] - probabilities[1]).max() > 0.05
    mean = np.mean(probabilities, axis=0)
    chosen = np.log(np.take_along_axis(mean, TARGET[..., None], axis=2)[..., 0])
    task, params, score = together
    found, _ = score(params, BATCH)
    np.testing.assert_allclose(found["nll"], -np.sum(chosen * (TARGET != PAD), axis=1), rtol=1e-5)
    np.testing.assert_array_equal(found["tokens"], [5, 3])


def test_both_views_agree(together):
    task, params, score = together
    carry = jax.jit(task.start, static_argnums=(2, 3))(params, SOURCE, 2, 7)
    step, total = jax.jit(task.step), np.zeros(2)
    last = np.full(2, BOS)
    for token in TARGET.T:
        carry, logits = step(params, carry, jnp.asarray(np.stack([last, last], axis=1)))
        # The logarithms are of probabilities that sum to one; both hypotheses are the same so far.
        np.testing.assert_allclose(jax.nn.logsumexp(logits, axis=-1), 0.0, atol=1e-5)
        np.testing.assert_allclose(logits[:, 0], logits[:, 1], rtol=1e-5)
        total += np.where(token != PAD, np.asarray(logits)[[0, 1], 0, token], 0.0)
        last = token
    np.testing.assert_allclose(-total, score(params, BATCH)[0]["nll"], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["beam", pytest.param("sample", marks=pytest.mark.thorough)])
def test_a_search_reorders_every_member(together, method):
    task, params, score = together
    with task.config.decode.unlocked():
        task.config.decode.method = method
    found = jax.jit(task.search, static_argnums=2)(params, SOURCE, 2)
    real = np.arange(7) < found.lengths[..., None]
    for best in range(2):
        target = np.where(real, found.tokens, PAD)[:, best]
        alone, _ = score(params, {"source": SOURCE, "target": target})
        np.testing.assert_allclose(found.log_probabilities[:, best], -alone["nll"], rtol=1e-5)
    assert not np.array_equal(found.tokens[:, 0], found.tokens[:, 1])


@pytest.mark.thorough
def test_equal_members_are_one(tiny_task, tiny_params):
    task = tiny_task()
    params = tiny_params(task)
    one = jax.jit(task.search)(params, SOURCE)
    two = jax.jit(ensemble_of([task] * 2).search)(Ensemble.joined([params] * 2), SOURCE)
    np.testing.assert_array_equal(one.tokens, two.tokens)
    np.testing.assert_allclose(one.scores, two.scores, rtol=1e-5)


def test_an_output_is_as_long_as_every_member_can_write(tiny_task):
    task = tiny_task()
    limited = task.config.copy_and_resolve_references()
    limited.model.decoder.update(positions="learned", max_positions=6)
    alone = limited.copy_and_resolve_references()
    alone.model.encoder.kind = "none"
    others = [TextToText(each, task.tokenizers) for each in (limited, alone)]
    assert ensemble_of([task]).max_output(4) == 7
    assert ensemble_of([task, others[0]]).max_output(4) == 6
    assert ensemble_of([task, *others]).max_output(4) == 2


def test_only_tasks_that_predict_tokens_have_ensembles(tiny_task):
    task = tiny_task()
    with pytest.raises(UserError, match="task = 'text_to_text': expected one that predicts tokens"):
        ensemble_of([Task(task.config, task.tokenizers)])


# Language models.

_ADAPTIVE = {"model.adaptive_cutoffs": "5,8", "model.adaptive_factor": 2, "model.tie_output": False}
_STREAMS = {"batching.plan": "streams", "evaluation.cache": 6, "evaluation.cache_flatness": 2.0}
_TEXT = np.array([[EOS, 5, 6, 7, 4, 5, 6, EOS, 8, 5, 6], [EOS, 8, 9, EOS, 5] + [PAD] * 6], np.int32)


@pytest.fixture(scope="module")
def language_models(tiny_params):
    """Returns a function from families and fields to tasks and their parameters.

    Recurrent members have an adaptive softmax.
    """

    def make(kinds, **fields):
        tasks = []
        for kind in kinds:
            config = default_config()
            config.task = "language_model"
            config.model.decoder.update(kind=kind, layers=1, width=8, heads=2, feed_forward=12)
            config.batching.length = 8
            config.decode.max_new_tokens = 5
            own = _ADAPTIVE if kind in ("elman", "lstm", "gru") else {}
            config.update_from_flattened_dict({**own, **fields})
            characters = Tokenizers({"text": Symbols("character", "abcdefg ")})
            tasks.append(LanguageModelling(config, characters))
        return tasks, list(map(tiny_params, tasks))

    return make


def _probabilities(task, params, batch, carry):
    """Returns the probability of each target [B, T], 1 for padding, and the next carry."""
    logits, targets, weights, carry = task.predict(params, batch, carry, deterministic=True)
    chosen = jnp.take_along_axis(jax.nn.softmax(logits), targets[..., None], axis=-1)
    return jnp.where(weights > 0, chosen[..., 0], 1.0), carry


_BATCHES = {
    "windows": [{"text": _TEXT}],
    "packs": [
        {
            "text": _TEXT,
            "segment": np.cumsum(_TEXT == EOS, axis=1),
            "position": np.array([[0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3], [0, 1, 2, 0, 1, *[2] * 6]]),
        }
    ],
    # The second block begins with the last token of the first.
    "streams": [
        {"text": _TEXT[:, :6], "fresh": np.array([False, False])},
        {"text": _TEXT[:, 5:], "fresh": np.array([False, False])},
    ],
}


@pytest.mark.parametrize(
    ("plan", "kinds"),
    [
        ("windows", ("transformer", "lstm", "convolutional")),
        ("packs", ("transformer", "transformer")),
        ("streams", ("gru", "elman")),
    ],
)
def test_language_models_score_by_their_mean_probability(language_models, plan, kinds):
    fields = _STREAMS if plan == "streams" else {"batching.plan": plan}
    tasks, params = language_models(kinds, **fields)
    # Members of one family differ in their parameters.
    params = [jax.tree.map(lambda leaf, n=n: (1 + n) * leaf, own) for n, own in enumerate(params)]
    ensemble, joined = ensemble_of(tasks), Ensemble.joined(params)

    @jax.jit
    def compute(batch, carries):
        found = map(_probabilities, tasks, params, [batch] * len(tasks), carries[1:])
        each, following = zip(*found, strict=True)
        sums, carry = ensemble.score(joined, batch, carries[0])
        return sums["nll"], jnp.stack(each), [carry, *following]

    carries = [task.scoring_carry(2) for task in (ensemble, *tasks)]
    for batch in _BATCHES[plan]:
        nll, each, carries = compute(batch, carries)
        assert np.abs(each[0] - each[1]).max() > 0.02
        np.testing.assert_allclose(nll, -np.log(np.mean(each, axis=0)).sum(axis=1), rtol=1e-5)


def test_a_prompt_is_read_at_once_as_token_by_token(language_models):
    tasks, params = language_models(["lstm", "transformer"])
    model, variables = ensemble_of(tasks).model, {"params": Ensemble.joined(params)}
    apply, tokens = functools.partial(model.apply, variables), _TEXT[:, :5]

    @jax.jit
    def compute():
        carry = apply(2, 1, 5, method="start")
        carry, first = apply(carry, tokens[:, :4], jnp.array([3, 4]), method="prefill")
        # The last token that each row has not read.
        _, second = apply(carry, jnp.array([[tokens[0, 3]], [tokens[1, 4]]]), method="step")
        return first[:, 0], second[:, 0], apply(tokens)[0]

    first, second, whole = compute()
    np.testing.assert_allclose(first, whole[[0, 1], [2, 3]], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(second, whole[[0, 1], [3, 4]], rtol=1e-4, atol=1e-5)


def test_the_context_is_the_shortest_of_those_that_have_one(language_models):
    tasks, _ = language_models(["lstm", "transformer"])
    assert ensemble_of(tasks).context == 8


def test_recurrent_language_models_read_on_for_ever(language_models):
    assert ensemble_of(language_models(["lstm", "gru"])[0]).context == 0


def test_language_models_read_no_more_than_every_member_has_positions_for(language_models):
    fields = {"batching.plan": "buckets", "model.decoder.max_positions": 6}
    (lstm, transformer), _ = language_models(["lstm", "transformer"], **fields)
    (learned,), _ = language_models(
        ["transformer"], **fields, **{"model.decoder.positions": "learned"}
    )
    assert ensemble_of([lstm, transformer]).context == 0
    assert learned.context == ensemble_of([lstm, learned]).context == 6


def test_the_losses_are_those_of_the_mean_probability(language_models):
    tasks, params = language_models(["transformer", "convolutional"])
    task, joined = ensemble_of(tasks), Ensemble.joined(params)
    vectors, target = (jnp.ones((1, 1, 8)),) * 2, jnp.array([[7]])
    apply = functools.partial(task.model.apply, {"params": joined})
    log_probabilities = apply(vectors, method="predict")[0, 0]
    smoothed, plain = apply(vectors, target, label_smoothing=0.1, method="losses")
    assert float(plain[0, 0]) == pytest.approx(-float(log_probabilities[7]), rel=1e-6)
    expected = 0.9 * log_probabilities[7] + 0.1 * log_probabilities.mean()
    assert float(smoothed[0, 0]) == pytest.approx(-float(expected), rel=1e-5)
