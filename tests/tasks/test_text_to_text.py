import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqjax.data.symbols import Symbols
from seqjax.data.tokenizer import BOS, EOS, PAD, Tokenizers

SOURCE = np.array([[5, 9, 4, EOS], [8, EOS, PAD, PAD], [PAD] * 4, [EOS, PAD, PAD, PAD]], np.int32)
TARGET = np.array(
    [[4, 5, 7, 6, EOS], [9, EOS, PAD, PAD, PAD], [PAD] * 5, [10, 4, EOS, PAD, PAD]], np.int32
)
BATCH = {"source": SOURCE, "target": TARGET}
TOKENS = [5, 2, 0, 3]


def log_probabilities(task, params):
    """Of each target token, one sentence at a time, from the recurrent view."""
    variables = {"params": params}

    @jax.jit
    def start(source):
        memory = task.model.apply(variables, source, method="encode")
        return task.model.apply(variables, memory, 1, 8, method="start")

    @jax.jit
    def step(carry, token):
        carry, logits = task.model.apply(variables, carry, token[None, None], method="step")
        return carry, jax.nn.log_softmax(logits[0, 0])

    result = []
    for source, target, length in zip(SOURCE, TARGET, TOKENS, strict=True):
        carry, last, rows = start(source[None]), BOS, []
        for token in target[:length]:
            carry, row = step(carry, jnp.int32(last))
            rows.append(np.asarray(row))
            last = token
        result.append(np.array(rows).reshape(length, 12))
    return result


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_is_the_sum_over_target_tokens(smoothing, tiny_params, tiny_task):
    task = tiny_task()
    task.config.loss.label_smoothing = smoothing
    params = tiny_params(task)
    expected = 0.0
    for target, rows in zip(TARGET, log_probabilities(task, params), strict=True):
        for token, row in zip(target, rows, strict=False):
            expected -= (1 - smoothing) * row[token] + smoothing * row.mean()
    objective, (sums, carry) = jax.jit(task.loss)(params, BATCH, jax.random.key(0))
    assert carry == ()
    assert float(objective) == pytest.approx(expected, rel=1e-5)
    assert (sums["objective"], sums["tokens"]) == (objective, 10)
    # What the validation calls loss.
    nll = jnp.sum(task.score(params, BATCH)[0]["nll"])
    assert float(sums["loss"]) == pytest.approx(float(nll), rel=1e-5)


def test_score_is_per_sentence_and_without_smoothing_or_dropout(tiny_params, tiny_task):
    task = tiny_task(dropout=0.5)
    params = tiny_params(task)
    scores, _ = jax.jit(task.score)(params, BATCH)
    rows = log_probabilities(task, params)
    for i, length in enumerate(TOKENS):
        target = TARGET[i, :length]
        assert float(scores["nll"][i]) == pytest.approx(
            -rows[i][np.arange(length), target].sum(), rel=1e-5, abs=1e-6
        )
        assert float(scores["correct"][i]) == (rows[i].argmax(-1) == target).sum()
    assert scores["tokens"].tolist() == TOKENS


def test_dropout_follows_its_key(tiny_params, tiny_task):
    task = tiny_task(dropout=0.5)
    params = tiny_params(task)
    loss = jax.jit(task.loss)
    losses = [float(loss(params, BATCH, jax.random.key(k))[0]) for k in (1, 1, 2)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("beam_size", [1, 3])
def test_search_obeys_the_config_and_leaves_empty_rows_empty(beam_size, tiny_params, tiny_task):
    task = tiny_task(beam_size=beam_size, length_normalization="none", min_length=1)
    params = tiny_params(task)
    found = jax.jit(task.search)(params, SOURCE)
    assert found.tokens.shape == (4, 1, task.max_output(4))
    lengths = np.asarray(found.lengths)[:, 0]
    assert lengths[2] == 0 and not np.asarray(found.tokens)[2].any()
    for row, count in ((0, 4), (1, 2), (3, 1)):
        assert 2 <= lengths[row] <= task.max_output(count)
        assert found.tokens[row, 0, lengths[row] - 1] == EOS
    # Without length normalization the score is the log probability, in greedy search as well,
    np.testing.assert_array_equal(found.scores, found.log_probabilities)
    # and that is what `score` says of the same tokens.
    output = np.where(lengths[:, None] > 0, np.asarray(found.tokens)[:, 0], PAD)
    scores, _ = jax.jit(task.score)(params, {"source": SOURCE, "target": output})
    np.testing.assert_allclose(
        np.asarray(found.log_probabilities)[:, 0], -scores["nll"], rtol=1e-4, atol=1e-5
    )


def test_several_hypotheses_are_distinct_and_best_first(tiny_params, tiny_task):
    task = tiny_task(beam_size=4)
    found = jax.jit(lambda p: task.search(p, SOURCE, n_best=3))(tiny_params(task))
    assert found.tokens.shape[:2] == (4, 3)
    assert (np.diff(np.asarray(found.scores), axis=1) <= 0).all()
    for row in (0, 1, 3):
        assert len({tuple(tokens) for tokens in np.asarray(found.tokens)[row].tolist()}) == 3


def test_samples_depend_on_seed_and_source_alone(tiny_params, tiny_task):
    # The spread of a trained model, nearly.
    task = tiny_task(method="sample", beam_size=1, temperature=0.5, top_k=9, min_length=1)
    params = jax.tree.map(lambda leaf: 2 * leaf, tiny_params(task))
    search = jax.jit(lambda sources: task.search(params, sources, n_best=4))
    found = jax.device_get(search(SOURCE))
    assert found.tokens.shape == (4, 4, task.max_output(4))
    lengths = found.lengths
    assert not lengths[2].any() and not found.tokens[2].any()
    assert (lengths[[0, 1, 3]] >= 2).all()
    assert len(np.unique(found.tokens[0], axis=0)) > 1
    order = [3, 2, 0, 0]
    np.testing.assert_array_equal(search(SOURCE[order]).tokens, found.tokens[order])
    task.config.decode.seed = 1
    other = jax.jit(lambda sources: task.search(params, sources, n_best=4))(SOURCE)
    assert not np.array_equal(other.tokens, found.tokens)
    # The probabilities are those of the model, whatever the filters.
    for n in range(2):
        scores, _ = task.score(params, {"source": SOURCE, "target": found.tokens[:, n]})
        np.testing.assert_allclose(
            found.log_probabilities[:, n], -scores["nll"], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize(
    "ratio, extra, lengths",
    [(2.0, 10, {1: 12, 7: 24}), (0.5, 1, {1: 1, 7: 4}), (0.1, 0, {1: 1, 7: 1, 25: 2})],
)
def test_the_longest_output_grows_with_the_source_and_holds_at_least_its_end(
    ratio, extra, lengths, tiny_task
):
    task = tiny_task(max_length_ratio=ratio, max_length_extra=extra)
    assert {n: task.max_output(n) for n in lengths} == lengths


def test_the_longest_output_fits_learned_positions(tiny_task):
    task = tiny_task(max_length_ratio=2.0, max_length_extra=10)
    task.config.model.decoder.update(positions="learned", max_positions=20)
    task = type(task)(task.config, task.tokenizers)
    assert [task.max_output(n) for n in (1, 5, 6, 100)] == [12, 20, 20, 20]


def test_sources_end_in_eos_and_are_cut_where_the_config_says(tiny_task):
    task = tiny_task()
    task.config.data.max_source_length = 4
    assert task.encode_sources(["ab", "", "abcdefg"]) == [[4, 5, EOS], [EOS], [4, 5, 6, EOS]]
    assert task.texts(np.array([[4, 5, EOS, PAD], [EOS, 4, 4, 4]])) == ["ab", ""]


def test_sources_in_another_normalization_form_are_reported(tiny_task, caplog, monkeypatch):
    task = tiny_task()
    monkeypatch.setattr(
        task,
        "tokenizers",
        Tokenizers(dict.fromkeys(("source", "target"), Symbols("character", "é"))),
    )
    task.encode_sources(["e\u0301", "z", "é"])
    assert (
        "2 source(s) with characters that the vocabulary lacks, read as <unk>;"
        " 1 of them are known in Unicode's NFC: see tokenizer.normalization"
    ) in caplog.text
