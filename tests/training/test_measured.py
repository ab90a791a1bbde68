import pytest

from seqjax.config import default_config
from seqjax.fields import flatten
from seqjax.training.measured import changes, measured_on

BEFORE = measured_on(default_config(), "abc")


def measured(examples="abc", **fields):
    config = default_config()
    config.update_from_flattened_dict(
        {name.replace("__", "."): value for name, value in fields.items()}
    )
    return measured_on(config, examples)


def test_a_score_depends_on_the_sentences_and_on_how_they_are_searched_and_compared():
    assert not changes("bleu", BEFORE, measured())
    assert changes("loss", BEFORE, measured("other")) == ["other sentences"]
    now = measured(decode__beam_size=1)
    assert changes("bleu", BEFORE, now) == ["decode.beam_size was 4 and is 1"]


@pytest.mark.parametrize(
    ("field", "value", "metrics"),
    [
        ("evaluation.tokenize", "char", {"bleu"}),
        ("evaluation.lowercase", True, {"bleu", "chrf", "ter", "exact_match", "error_rate"}),
        ("decode.length_penalty", 1.0, {"bleu", "chrf", "ter", "exact_match", "error_rate"}),
        # Neither when, nor how fast, nor which of several scores.
        ("evaluation.every", "1%", set()),
        ("evaluation.metrics", ("bleu",), set()),
        ("decode.tokens", 64, set()),
        ("decode.checkpoint", "latest", set()),
        ("parallel.data", 1, set()),
    ],
)
def test_a_field_matters_to_some_scores(field, value, metrics):
    now = measured(**{field.replace(".", "__"): value})
    names = ("loss", "perplexity", "accuracy", "bleu", "chrf", "ter", "exact_match", "error_rate")
    assert {name for name in names if changes(name, BEFORE, now)} == metrics


def test_what_an_earlier_version_did_not_note_counts_as_equal():
    assert not changes("bleu", {}, BEFORE)
    assert not changes("bleu", {"examples": "abc"}, measured(decode__beam_size=1))


def test_every_field_that_decodes_or_compares_is_noted():
    """A new one is by default."""
    fields = [path for path in flatten(default_config()) if path.startswith("decode.")]
    assert {"decode.checkpoint", "decode.average", "decode.tokens", "decode.shapes"} == set(
        fields
    ) - BEFORE.keys()
