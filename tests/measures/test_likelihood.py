"""Metrics of a language model against values computed by hand."""

import math

import pytest

from seqjax.measures.likelihood import likelihood_metrics
from seqjax.tasks.declared import TASKS

BIT = math.log(2)


def test_golden_values():
    """Ten bits for three words of five characters in six bytes, and five tokens."""
    found = likelihood_metrics(10 * BIT, 5.0, ["ab c", "é"])
    assert found == {
        "loss": pytest.approx(2 * BIT),
        "perplexity": pytest.approx(4.0),
        "word_perplexity": pytest.approx(2 ** (10 / 3)),
        "bits_per_character": pytest.approx(2.0),
        "bits_per_byte": pytest.approx(10 / 6),
    }
    # Accuracy is counted by the task.
    assert {*found, "accuracy"} == set(TASKS["language_model"].measures)


def test_a_tokenizer_changes_what_is_divided_by_tokens_alone():
    text = ["the cat sat on the mat"]
    characters, words = (likelihood_metrics(44 * BIT, tokens, text) for tokens in (23, 7))
    assert characters["loss"] == pytest.approx(44 / 23 * BIT)
    assert words["loss"] == pytest.approx(44 / 7 * BIT)
    for name in ("word_perplexity", "bits_per_character", "bits_per_byte"):
        assert characters[name] == words[name]
    # 22 characters and bytes.
    assert words["bits_per_character"] == words["bits_per_byte"] == pytest.approx(2.0)


def test_white_space_and_ends_of_lines_are_characters_but_no_words():
    found = likelihood_metrics(8 * BIT, 8.0, ["a\n\n b\t", ""])
    # Six characters, two words; the ends of the two documents cost as other tokens do.
    assert found["bits_per_character"] == pytest.approx(8 / 6)
    assert found["word_perplexity"] == pytest.approx(2 ** (8 / 2))


def test_characters_beyond_the_first_plane_are_one_of_four_bytes():
    found = likelihood_metrics(8 * BIT, 2.0, ["😀"])
    assert found["bits_per_character"] == pytest.approx(8.0)
    assert found["bits_per_byte"] == pytest.approx(2.0)


def test_extremes_stay_finite():
    empty = likelihood_metrics(BIT, 1.0, [""])
    assert empty["bits_per_character"] == empty["bits_per_byte"] == pytest.approx(1.0)
    assert empty["word_perplexity"] == pytest.approx(2.0)
    diverged = likelihood_metrics(1e6, 2.0, ["a"])
    assert diverged["perplexity"] == diverged["word_perplexity"] == pytest.approx(math.exp(700))
    assert likelihood_metrics(0.0, 3.0, ["ab"])["perplexity"] == 1.0
