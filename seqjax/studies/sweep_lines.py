"""What a sweep prints of its trials."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from seqjax.stages import write_seconds
from seqjax.studies.board import Line
from seqjax.studies.results import Result, best, format_value
from seqjax.studies.search import Search
from seqjax.studies.study import AnyStudy
from seqjax.studies.trial import Trial

# Seconds from which on the time left is shown.
_LONG = 5.0


def drawn(study: AnyStudy, point: Mapping[str, Any]) -> str:
    """Returns the values that were drawn for a trial, '' if it is one of a list."""
    if not isinstance(study, Search):
        return ""
    return " " + " ".join(f"{field}={format_value('', value)}" for field, value in point.items())


def ending(study: AnyStudy, trial: Trial) -> str:
    """Returns the outcome of a trial, of a search with its best value."""
    value = study.value(trial)
    if not isinstance(study, Search) or value is None:
        return trial.outcome
    return f"{trial.outcome}, best {study.objective} {format_value(study.objective, value)}"


def time_left(seconds: float, ended: int, left: int) -> str:
    """Estimates the time left from the time of the trials so far; '' if short."""
    seconds = seconds * left / max(ended, 1)
    trials = "1 trial" if left == 1 else f"{left} trials"
    return f"; {trials} left, about {write_seconds(seconds)}" if seconds > _LONG else ""


def running(
    study: AnyStudy, name: str, phase: str, curves: Mapping[str, Sequence[tuple[int, float]]]
) -> Line:
    """Returns the line of the board for a running trial."""
    values = [value for _, value in curves.get(study.objective, ())]
    best_value = (max if study.higher else min)(values, default=None)
    shown = (values[-1] if values else None, best_value)
    evaluated = next(iter(curves.values()), [])
    step = str(evaluated[-1][0]) if evaluated else ""
    return Line(name, phase, step, *(format_value(study.objective, value) for value in shown))


def last_lines(
    study: AnyStudy, results: Sequence[Result], failed: int, count: int
) -> Iterator[str]:
    """Gives the best trial of a search, and how many of `count` trials failed."""
    found = best(study.higher, results)
    if isinstance(study, Search) and found:
        value = format_value(study.objective, found.value)
        yield f"best: {found.name} with {study.objective} {value}"
    if failed:
        yield f"{failed} of {count} trials failed"
