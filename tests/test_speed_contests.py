"""The scripts of experiments/speed that run seqjax: at small sizes they still do their work."""

import importlib
from pathlib import Path

import pytest

_FOLDER = Path(__file__).parents[1] / "experiments" / "speed"
_SMALL = {"layers": 1, "width": 16, "heads": 2, "vocabulary": 20, "batch": 8, "length": 4}
_WORK = {
    "train_step": ("with_seqjax", {"work": "training", "feed_forward": 16, "dropout": 0.1}),
    "beam_search": ("with_seqjax", {"work": "beam", "feed_forward": 16, "beam_size": 2}),
    "recurrent": ("with_seqjax_recurrent", {"cell": "lstm"}),
    "language_model": (
        "with_seqjax_language_model",
        {"work": "training", "model": "lstm", "dropout": 0.1},
    ),
    "sampling": (
        "with_seqjax_language_model",
        {"work": "sampling", "model": "transformer", "dropout": 0.0, "prompt": 3},
    ),
}


_LONG = ("train_step", "beam_search", "sampling")


@pytest.mark.slow
@pytest.mark.parametrize(
    "contest",
    [pytest.param(name, marks=[pytest.mark.thorough] * (name in _LONG)) for name in _WORK],
)
def test_our_side_of_a_contest_works(contest, monkeypatch):
    monkeypatch.syspath_prepend(str(_FOLDER))
    module, sizes = _WORK[contest]
    assert f'"{module}.py"' in (_FOLDER / f"{contest}.py").read_text(encoding="utf-8")
    about, work = importlib.import_module(module).prepare(_SMALL | sizes)
    assert about["parameters"] > 0 and about["runs"].startswith("jax ")
    assert all(value > 0 for value in work(1).values())
