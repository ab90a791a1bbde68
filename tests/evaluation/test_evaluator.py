import math

import jax
import numpy as np
import pytest

from seqjax.data.text_form import TextForm
from seqjax.data.tokenizer import EOS, PAD
from seqjax.evaluation.evaluator import Evaluator
from seqjax.parallel.mesh import make_mesh, replicated

PAIRS = [
    ("abc", "cba"),
    ("", "a"),
    ("g", ""),
    ("  ", "f"),
    ("fedcba", "abcdef gg"),
    ("c d", "d c"),
    ("gg gg gg", "g"),
    ("ab", "ba?"),
    ("abcdefgabcdefg", "gfedcba"),
    ("fa", "af af af af af"),
]


@pytest.fixture
def make(tmp_path, tiny_task, tiny_params):
    for side, language in enumerate(("en", "de")):
        lines = "".join(f"{pair[side]}\n" for pair in PAIRS)
        (tmp_path / f"validation.{language}").write_text(lines)

    def make(devices=1, limit=-1, **decode):
        task = tiny_task(**decode)
        task.config.data.update(
            corpus="text", directory=str(tmp_path), cache=str(tmp_path / "cache")
        )
        task.config.data.max_source_length = 10
        mesh = make_mesh(devices)
        params = tiny_params(task)
        params = jax.device_put(params, replicated(mesh))
        return Evaluator(task, mesh, "validation", limit), params

    return make


def by_hand(task, params, count):
    """Loss, accuracy, texts and outputs at their limit, one pair at a time."""
    score, search = jax.jit(task.score), jax.jit(task.search)
    nll, correct, tokens, texts, limited = 0.0, 0.0, 0, [], 0
    for source, target in PAIRS[:count]:
        (ids,) = task.encode_sources([source])
        row, output = np.full((1, 12), PAD, np.int32), np.full((1, 16), PAD, np.int32)
        row[0, : len(ids)] = ids
        ids = [*task.tokenizers["target"].encode(target), EOS]
        output[0, : len(ids)] = ids
        scores, _ = score(params, {"source": row, "target": output})
        nll += float(scores["nll"][0])
        correct += float(scores["correct"][0])
        tokens += len(ids)
        found = search(params, row)
        texts.append(task.texts(np.asarray(found.tokens)[:, 0])[0] if source.strip() else "")
        length = len(task.encode_sources([source])[0])
        # The least ratio and the constant of `tiny_task`.
        limited += bool(source.strip()) and int(found.lengths[0, 0]) == length + 3
    return nll / tokens, 100 * correct / tokens, texts, 100 * limited / count


@pytest.mark.parametrize("devices, limit, tokens", [(8, -1, 20), (1, 4, 4096)])
def test_every_pair_counts_once_whatever_the_batches(devices, limit, tokens, make):
    evaluator, params = make(devices, limit, tokens=tokens, shapes=2)
    count = len(PAIRS) if limit < 0 else limit
    result = evaluator(params)
    loss, accuracy, texts, at_limit = by_hand(evaluator.task, jax.device_get(params), count)
    assert result.metrics["loss"] == pytest.approx(loss, rel=1e-5)
    assert result.metrics["perplexity"] == pytest.approx(math.exp(loss), rel=1e-4)
    assert result.metrics["accuracy"] == pytest.approx(accuracy, rel=1e-6)
    assert result.hypotheses == texts
    assert result.metrics["at_limit"] == at_limit and 0 < at_limit < 100
    # Characters, and the end of each output that was searched for; two sources are blank.
    ends = sum(bool(source.strip()) for source, _ in PAIRS[:count])
    assert result.output_tokens <= sum(map(len, texts)) + ends
    assert result.output_tokens > sum(map(len, texts))
    assert result.decoding_seconds > 0
    assert result.sources == [source for source, _ in PAIRS[:count]]
    assert result.references == [target for _, target in PAIRS[:count]]
    assert {"bleu", "bleu_signature", "chrf", "ter", "exact_match"} <= result.metrics.keys()


def test_sources_that_are_cut_are_counted_and_reported(make, caplog):
    """Of those that are evaluated; the ninth of `PAIRS` is the only one of ten tokens or more."""
    assert make(limit=8)[0].cut["source"] == 0
    assert not [r for r in caplog.records if "max_source_length" in r.getMessage()]
    assert make()[0].cut["source"] == 1
    expected = "data.max_source_length = 10: 1 of 10 sources of the validation split are cut to it"
    assert expected in [record.getMessage() for record in caplog.records]


def test_references_that_no_output_can_reach_are_reported(make, caplog):
    make(max_length_ratio=1.0, max_length_extra=0)
    (message,) = [r.getMessage() for r in caplog.records if "max_length_ratio" in r.getMessage()]
    # An empty source has room for the end alone.
    assert "5 of 10 references of the validation split are longer" in message
    assert "one of 15 tokens for a source of 3, with 3 allowed" in message


def test_loss_alone_translates_nothing_and_scores_targets_beyond_learned_positions(
    make, tiny_params
):
    """Targets are never cut, and lengths are rounded up to `batching.multiple`."""
    task = make()[0].task
    for stack in (task.config.model.encoder, task.config.model.decoder):
        stack.update(positions="learned", max_positions=10)
    task = type(task)(task.config, task.tokenizers)
    evaluator = Evaluator(task, make_mesh(1), "validation")
    assert max(batch.shape["target"] for batch in evaluator.plan) > 10
    result = evaluator(tiny_params(task), translate=False)
    assert result.metrics.keys() == {"loss", "perplexity", "accuracy"}
    assert all(math.isfinite(value) for value in result.metrics.values())
    assert (result.hypotheses, result.output_tokens, result.decoding_seconds) == ([], 0, 0.0)


def test_references_are_scored_in_the_form_of_the_outputs(make, monkeypatch):
    evaluator, params = make(limit=1)
    monkeypatch.setattr(evaluator.task.tokenizers["target"], "form", TextForm(normalization="NFC"))
    evaluator.texts["target"] = ["e\u0301"]
    scored = []
    monkeypatch.setattr(
        "seqjax.tasks.text_to_text.translation_metrics",
        lambda hypotheses, references, *settings: scored.extend(references) or {},
    )
    result = evaluator(params)
    assert (scored, result.references) == (["\u00e9"], ["e\u0301"])
