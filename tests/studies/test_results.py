from pathlib import Path

import pytest

from seqjax.config import default_config
from seqjax.studies.results import (
    as_result,
    best,
    format_value,
    grouped,
    ranked,
    repeat,
    varied,
)
from seqjax.studies.study import TrialSpec
from seqjax.studies.trial import Trial


def _result(name, value, fields=None, state="", **trial):
    spec = TrialSpec(
        name, default_config(), "s.py:x y", ("--config.seed=1",), fields or {"seed": 1}
    )
    return as_result(spec, Trial(**trial), value, state)


_DONE = {"splits": {"test": {}}}
_RESULTS = [
    _result("failed", None, failure="no"),
    _result("pruned", 50.0, pruned=3),
    _result("worst", 10.0, **_DONE),
    _result("best", 30.0, **_DONE),
    _result("unknown", None, **_DONE),
]


@pytest.mark.parametrize(
    ("higher", "names"),
    [
        (True, ["best", "worst", "pruned", "unknown", "failed"]),
        (False, ["worst", "best", "pruned", "unknown", "failed"]),
    ],
)
def test_the_best_comes_first_and_what_is_not_done_last(higher, names):
    assert [result.name for result in ranked(higher, _RESULTS)] == names
    assert best(higher, _RESULTS).name == names[0]
    assert best(higher, _RESULTS[:2]) is None


def test_groups_are_ranked_apart():
    files = {"a": "dut", "b": "kor", "c": "dut", "d": "kor"}
    results = [
        _result(name, value, {"data.files": files[name]}, **_DONE)
        for name, value in zip("abcd", (1.0, 9.0, 2.0, 8.0), strict=True)
    ]
    groups = grouped(True, ("data.files",), results)
    assert [dict(group.values) for group in groups] == [{"data.files": f} for f in ("dut", "kor")]
    assert [[r.name for r in group.results] for group in groups] == [["c", "a"], ["b", "d"]]
    (whole,) = grouped(True, (), results)
    assert whole.values == {} and [r.name for r in whole.results] == ["b", "d", "c", "a"]


def test_fields_that_change_together_are_one_column():
    points = [("lstm", 2, 1), ("lstm", 2, 2), ("transformer", 6, 1), ("transformer", 6, 2)]
    names = ("model.encoder.layers", "model.encoder.kind", "seed")
    results = [
        _result(f"t{n}", 1.0, {"task": "same"} | dict(zip(names, (b, a, c), strict=True)))
        for n, (a, b, c) in enumerate(points)
    ]
    assert varied(results) == {
        "model.encoder.kind": ["model.encoder.kind", "model.encoder.layers"],
        "seed": ["seed"],
    }
    assert list(varied(results, merged=False)) == ["task", *names]


def test_the_command_of_a_trial_can_be_pasted():
    command = repeat(_RESULTS[3], Path("my runs"))
    assert command == (
        "python launch.py train '--config=s.py:x y' '--workdir=my runs/best-again' --config.seed=1"
    )


def test_a_running_trial_says_how_far_it_is():
    curves = {"loss": [(100, 3.0), (1200, 2.0)]}
    assert _result("a", None, state="running", curves=curves).outcome == "running, step 1,200"
    assert _result("a", None, state="running").outcome == "running"
    assert _result("a", 1.0, state="running", **_DONE).outcome == "done"
    assert _result("a", None, state="waiting").outcome == "not run"


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        ("loss", 1.23456, "1.235"),
        ("loss", 104762.3, "1.05e+05"),
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
