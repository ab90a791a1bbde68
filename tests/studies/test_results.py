from pathlib import Path

import pytest

from seqjax.config import default_config
from seqjax.studies.results import Result, best, fields_of, format_value, ranked, repeat
from seqjax.studies.study import Job, Study
from seqjax.studies.trial import Trial


def _result(name, value, **trial):
    job = Job(name, default_config(), "s.py:x y", ("--config.seed=1",), {"seed": len(name)})
    return Result(job, Trial(**trial), value)


_DONE = {"splits": {"test": {}}}
_RESULTS = [
    _result("failed", None, failure="no"),
    _result("pruned", 50.0, pruned=3),
    _result("worst", 10.0, **_DONE),
    _result("best", 30.0, **_DONE),
    _result("unknown", None, **_DONE),
]


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("bleu", ["best", "worst", "pruned", "unknown", "failed"]),
        ("loss", ["worst", "best", "pruned", "unknown", "failed"]),
    ],
)
def test_the_best_comes_first_and_what_is_not_done_last(column, names):
    study = Study("s", {"a": default_config()}, columns=(column,))
    assert [result.job.name for result in ranked(study, _RESULTS)] == names
    assert best(study, _RESULTS).job.name == names[0]
    assert best(study, _RESULTS[:2]) is None


def test_the_command_of_a_trial_can_be_pasted():
    command = repeat(_RESULTS[3].job, Path("my runs"))
    assert command == (
        "python launch.py train '--config=s.py:x y' '--workdir=my runs/best-again' --config.seed=1"
    )
    assert fields_of(_RESULTS) == ["seed"]


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("loss", 1.23456, "1.235"),
        ("bleu", 31.256, "31.26"),
        ("parameters", 1234567, "1,234,567"),
        ("optimizer.learning_rate", 0.0012345, "0.001234"),
        ("model.encoder.width", 4096, "4096"),
        ("model.tie_output", True, "True"),
        ("evaluation.metrics", ("bleu", "ter"), "bleu,ter"),
        ("bleu", None, "–"),
        ("outcome", "failed: a | b", "failed: a | b"),
    ],
)
def test_values_as_people_read_them(column, value, text):
    assert format_value(column, value) == text
