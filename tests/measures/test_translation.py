"""Scores against hand-computed values and sacreBLEU's own command line."""

import json
import subprocess
import sys

import pytest

from seqjax.errors import UserError
from seqjax.measures.translation import translation_metrics

ALL = ("bleu", "chrf", "ter", "exact_match", "error_rate")
REFERENCES = [
    "Der alte Mann sieht zwei rote Häuser.",
    "Wir haben gestern, trotz des Regens, lange gewartet .",
    "Sie sagte: „Nein!“",
    "",
]
HYPOTHESES = [
    "Der alte Mann sieht zwei rote Häuser.",
    "wir haben gestern trotz des Regens sehr lange gewartet.",
    "",
    "Überflüssig",
]


def score(hypotheses, references, metrics=ALL, lowercase=False, tokenize="13a"):
    return translation_metrics(hypotheses, references, metrics, lowercase, tokenize)


def test_values_that_can_be_computed_by_hand():
    scores = score(["the cat sat on the mat"], ["the cat sat on a mat"])
    # Precisions 5/6, 3/5, 2/4, 1/3 and no brevity penalty; one of six words is wrong.
    assert scores["bleu"] == pytest.approx(100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)
    assert scores["ter"] == pytest.approx(100 / 6)
    assert scores["exact_match"] == 0.0
    # One of two characters agrees and no pair of characters; longer n-grams do not exist.
    assert score(["ab"], ["ac"], ["chrf"])["chrf"] == pytest.approx(25.0)


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenize", ["13a", "char"])
def test_agrees_with_the_command_line(tmp_path, lowercase, tokenize):
    (tmp_path / "references").write_text("\n".join(REFERENCES) + "\n", encoding="utf-8")
    (tmp_path / "hypotheses").write_text("\n".join(HYPOTHESES) + "\n", encoding="utf-8")
    case = ["--lowercase", "--chrf-lowercase"] if lowercase else ["--ter-case-sensitive"]
    command = [sys.executable, "-m", "sacrebleu", "references", "-i", "hypotheses", "--width=10"]
    command += ["-m", "bleu", "chrf", "ter", "--force", f"--tokenize={tokenize}", *case]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    scores = score(HYPOTHESES, REFERENCES, lowercase=lowercase, tokenize=tokenize)
    for name, expected in zip(("bleu", "chrf", "ter"), json.loads(run.stdout), strict=True):
        assert scores[name] == pytest.approx(expected["score"], abs=1e-9)
        assert scores[f"{name}_signature"] == expected["signature"]


def test_lowercase_applies_to_every_metric():
    mixed = score(["EIN HAUS STEHT HIER"], ["ein Haus steht hier"])
    lower = score(["EIN HAUS STEHT HIER"], ["ein Haus steht hier"], lowercase=True)
    assert (lower["bleu"], lower["chrf"], lower["ter"], lower["exact_match"]) == (
        pytest.approx(100),
        pytest.approx(100),
        0,
        100,
    )
    assert mixed["bleu"] == 0 and mixed["ter"] == 100 and mixed["exact_match"] == 0
    assert (mixed["error_rate"], lower["error_rate"]) == (100, 0)
    for name in ("bleu", "chrf", "ter"):
        assert "case:mixed" in mixed[f"{name}_signature"]
        assert "case:lc" in lower[f"{name}_signature"]


def test_only_the_metrics_asked_for_in_plain_types():
    scores = score(HYPOTHESES, REFERENCES, ("bleu",))
    assert list(scores) == ["bleu", "bleu_signature"]
    assert json.loads(json.dumps(scores)) == scores


def test_exact_match_ignores_surrounding_whitespace_only():
    scores = score(["a b ", "a  b", "", "A b"], ["a b", "a b", "", "a b"], ["exact_match"])
    assert scores == {"exact_match": 50.0}


@pytest.mark.parametrize(
    ("hypothesis", "reference", "edits"),
    [
        ("k a t", "k a t", 0),
        ("k  a t ", "k a t", 0),
        ("kitten", "sitting", 1),
        (" ".join("kitten"), " ".join("sitting"), 3),
        (" ".join("sunday"), " ".join("saturday"), 3),
        # A phrase that has moved is deleted and inserted, not shifted as by TER.
        ("c d a b", "a b c d", 4),
        ("", "a b c", 3),
        ("a b c", "", 3),
        ("A b", "a b", 1),
    ],
)
def test_error_rate_counts_edits_between_spaces(hypothesis, reference, edits):
    """Beside a right sentence of ten tokens, over the tokens of both references."""
    right = " ".join("x" * 10)
    scores = score([hypothesis, right], [reference, right], ["error_rate"])
    assert scores == {"error_rate": pytest.approx(100 * edits / (10 + len(reference.split())))}


def test_error_rate_of_references_without_tokens():
    assert score([""], [""], ["error_rate"]) == {"error_rate": 0.0}
    assert score(["a"], [""], ["error_rate"]) == {"error_rate": 100.0}


@pytest.mark.parametrize(
    ("hypotheses", "references", "expected"),
    [
        (["x y", "a"], ["x y", ""], {"chrf": 100, "ter": 50, "exact_match": 50, "error_rate": 50}),
        (["x y", ""], ["x y", "a"], {"ter": 100 / 3, "exact_match": 50, "error_rate": 100 / 3}),
        (["a b"], [""], {"chrf": 0, "ter": 100, "exact_match": 0, "error_rate": 200}),
        ([""], [""], {"chrf": 0, "ter": 0, "exact_match": 100, "error_rate": 0}),
    ],
)
def test_empty_sides_count_as_said(hypotheses, references, expected):
    scores = score(hypotheses, references, list(expected))
    assert {name: scores[name] for name in expected} == pytest.approx(expected)


def test_words_against_an_empty_reference_lower_the_precision_of_bleu():
    right = "the cat sat on the mat"
    one, other = score([right], [right], ["bleu"]), score([right, "a b"], [right, ""], ["bleu"])
    # Of 8, 6, 4 and 3 n-grams of the hypotheses 6, 5, 4 and 3 are right.
    assert one["bleu"] == pytest.approx(100)
    assert other["bleu"] == pytest.approx(100 * (6 / 8 * 5 / 6) ** 0.25)


def test_empty_hypotheses_score_nothing():
    scores = score(["", ""], ["ein Haus", "zwei Häuser stehen"])
    assert scores["bleu"] == scores["chrf"] == scores["exact_match"] == 0
    assert scores["ter"] == 100


def test_tokenized_references_raise_no_warning(caplog):
    score(["a b c ."] * 200, ["a b c ."] * 200, ["bleu"])
    assert not caplog.records


def test_different_counts_are_a_bug():
    with pytest.raises(ValueError, match="1 hypotheses for 2 references"):
        score(["a"], ["a", "b"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hypotheses": [], "references": []}, "nothing to score"),
        ({"metrics": ("bleuu",)}, "did you mean 'bleu'"),
        ({"tokenize": "13b"}, "did you mean '13a'"),
    ],
)
def test_mistakes_are_reported_in_one_line(arguments, message):
    with pytest.raises(UserError, match=message) as error:
        score(**({"hypotheses": ["a"], "references": ["a"]} | arguments))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "package"), [("ja-mecab", "ipadic"), ("ko-mecab", "mecab_ko")])
def test_a_tokenizer_that_is_not_installed_is_a_users_mistake(name, package):
    try:
        __import__(package)
    except ImportError:
        with pytest.raises(UserError, match=f"{name}.*pip install") as error:
            score(["a"], ["a"], tokenize=name)
        assert "\n" not in str(error.value)
    else:
        pytest.skip(f"{package} is installed")
