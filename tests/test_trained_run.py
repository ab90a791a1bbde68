"""A trained run in Python, against the verbs."""

import subprocess
import sys

import numpy as np
import pytest

import seqjax
from seqjax.errors import UserError

LINES = ["A woman leaves.", "", "Today uncles sell a lamp."]


@pytest.fixture(scope="module")
def run(trained):
    return seqjax.load_run(trained, {"decode.checkpoint": "150"})


def test_importing_seqjax_imports_no_jax():
    code = "import sys, seqjax; sys.exit('jax' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_sentences_are_translated_with_scores(run, trained):
    assert run.step == 150 and repr(run) == f"<run {trained} at step 150>"
    best = run.translate(LINES)
    assert len(best) == 3 and best[1] == "" and best[0] != best[2] != ""
    found = run.search(iter(LINES), n_best=2)
    assert [translations[0].text for translations in found] == best
    assert len(found[0]) == 2 and found[0][0].score > found[0][1].score
    assert run.translate([]) == []


def test_samples_are_the_same_alone(trained):
    fields = {"decode.method": "sample", "decode.beam_size": 1, "decode.checkpoint": "150"}
    run = seqjax.load_run(trained, {**fields, "decode.top_p": 0.9})
    found = run.search(LINES, n_best=5)
    assert [len(samples) for samples in found] == [5, 1, 5]
    assert run.search(LINES[2:], n_best=5) == found[2:]
    assert run.translate(LINES[:1]) == [found[0][0].text]


def test_the_score_of_an_output_is_that_of_its_search(run):
    for source, (best,) in zip(LINES[::2], run.search(LINES[::2]), strict=True):
        # At its limit an output ends in the middle; here the end counts at the same place.
        (score,) = run.score([source], [best.text])
        assert score.length == best.length
        assert score.log_probability == pytest.approx(best.log_probability, rel=1e-4)


def test_attention_of_what_is_found_and_of_what_is_given(run):
    found = run.attention(LINES[0])
    assert found.output_text == run.translate([LINES[0]])[0]
    given = run.attention(LINES[0], found.output_text)
    for one in (found, given):
        (weights,) = one.weights
        assert weights.shape == (2, len(one.output), len(one.source))
        np.testing.assert_allclose(weights.sum(axis=-1), 1, atol=1e-5)
        assert "".join(one.source).replace("▁", " ").strip().startswith("A woman leaves.")
    assert found.output == given.output
    # One map for each head, and the color bar.
    assert len(found.figure().axes) == 3
    np.testing.assert_allclose(found.weights[0], given.weights[0], atol=1e-5)


def test_a_split_is_evaluated(run):
    found = run.evaluate("other", limit=3)
    assert len(found.hypotheses) == 3 and found.metrics["loss"] > 0


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda run: run.translate("A lamp."), "sentences = 'A lamp.': expected a list of strings"),
        (lambda run: run.search(LINES, 4), "n_best = 4: expected 1 to decode.beam_size = 3"),
        (lambda run: run.score(LINES, ["a"]), "1 targets: expected as many as sources, 3 of them"),
        (lambda run: run.attention(" "), "source = '': expected a sentence that is not empty"),
    ],
)
def test_mistakes_are_named(use, message, run):
    with pytest.raises(UserError) as caught:
        use(run)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decode.beam_size": 0}, "decode.beam_size = 0: expected at least 1"),
        ({"decode.beamsize": 3}, "decode.beamsize"),
        ({"model.encoder.layers": 2}, "after training it is fixed"),
    ],
)
def test_fields_that_cannot_be_are_named(fields, message, trained):
    with pytest.raises(UserError, match=message):
        seqjax.load_run(trained, fields)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(UserError, match="expected a trained run; it has no config.json"):
        seqjax.load_run(tmp_path)
