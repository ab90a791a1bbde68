"""Metrics of a language model against values computed by hand."""

import math

import pytest

from seqjax.data.symbols import Bytes, train_symbols
from seqjax.measures.likelihood import likelihood_metrics
from seqjax.tasks.declared import TASKS

LN2 = math.log(2)


def test_metrics_by_hand():
    # 2 + 3 words, 4 + 9 characters, 4 + 13 bytes, and two ends.
    found = likelihood_metrics(30 * LN2, 10, ["ab c", " é 𝄞\tzwei"])
    assert found == pytest.approx(
        {
            "loss": 3 * LN2,
            "perplexity": 8.0,
            "word_perplexity": 2 ** (30 / 7),
            "bits_per_character": 2.0,
            "bits_per_byte": 30 / 19,
        }
    )
    # Accuracy is counted by the task.
    assert {*found, "accuracy"} == set(TASKS["language_model"].measures)


def test_an_empty_document_is_its_end():
    found = likelihood_metrics(2 * LN2, 2, ["", ""])
    assert found == pytest.approx(
        {
            "loss": LN2,
            "perplexity": 2.0,
            "word_perplexity": 2.0,
            "bits_per_character": 1.0,
            "bits_per_byte": 1.0,
        }
    )


TEXTS = ["the cat sat", "", "Übung macht den Meister .", "一 二三"]


@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        ("space", "word_perplexity"),
        ("character", "bits_per_character"),
        ("byte", "bits_per_byte"),
    ],
)
def test_metrics_of_a_unit_are_those_of_tokens_of_that_unit(kind, metric):
    if kind == "byte":
        tokenizer = Bytes()
    else:
        tokenizer = train_symbols(kind, TEXTS, 1000, 1, False)
    tokens = sum(len(tokenizer.encode(text)) + 1 for text in TEXTS)
    found = likelihood_metrics(45.6, tokens, TEXTS)
    of_tokens = found["perplexity"] if kind == "space" else found["loss"] / LN2
    assert found[metric] == pytest.approx(of_tokens)


def test_no_tokenizer_changes_what_is_divided_by_the_text():
    """Twice as many tokens with half the information each."""
    coarse, fine = (likelihood_metrics(60.0, tokens, TEXTS) for tokens in (20, 40))
    assert coarse["loss"] == 2 * fine["loss"]
    for metric in ("word_perplexity", "bits_per_character", "bits_per_byte"):
        assert coarse[metric] == fine[metric]


def test_a_hopeless_model_has_finite_metrics():
    found = likelihood_metrics(1e6, 10, ["a"])
    assert all(math.isfinite(value) for value in found.values())
    assert found["loss"] == 1e5
