"""The durations of a run in steps, of which shares stay what they were when the run began.

A run that is lengthened keeps its warm-up and its cadences: '10%' of 2,000 steps are 200 also after
train.duration has become 4,000.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections

from seqjax.duration import parse_duration, resolve, wrong_duration
from seqjax.errors import UserError
from seqjax.validation import check_resolved

# Fields that may be shares of the whole training, by their names in `Durations`.
_SHARES = {
    "warmup": "schedule.warmup",
    "evaluate": "evaluation.every",
    "save": "checkpoint.every",
    "report": "reporting.every",
}


class Durations(NamedTuple):
    """The durations of a config, in steps; 0 means never."""

    total: int
    warmup: int
    evaluate: int
    save: int
    report: int


def check_units(config: ml_collections.ConfigDict) -> None:
    """Raises UserError if a duration is a time, before the corpus is read: none is kept yet."""
    for path in ("train.duration", *_SHARES.values()):
        section, _, field = path.partition(".")
        text = config[section][field]
        units = ("steps", "epochs", "tokens") + (("%",) if path in _SHARES.values() else ())
        if wrong := wrong_duration(text, units):
            raise UserError(f"{path} = {text!r}: expected {wrong}")


def durations_of(
    config: ml_collections.ConfigDict,
    steps_per_epoch: int,
    tokens_per_epoch: int,
    clock: Mapping[str, Any],
) -> Durations:
    """Returns the durations of a config; shares that a run's clock knows as the clock has them.

    Raises:
      UserError: the warm-up is longer than the training, or a number of steps is too large.
    """
    epoch = steps_per_epoch, tokens_per_epoch
    total = resolve("train.duration", config.train.duration, *epoch)
    known = dict(clock.get("shares", {}))
    if "shares" not in clock and "schedule" in clock:
        # Runs of earlier versions know the warm-up only.
        known["schedule.warmup"] = [config.schedule.warmup, clock["schedule"][0]]
    steps = {}
    for name, path in _SHARES.items():
        section, _, field = path.partition(".")
        text = config[section][field]
        before, found = known.get(path, ("", 0))
        kept = before == text and parse_duration(text)[1] == "%"
        steps[name] = found if kept else resolve(path, text, *epoch, total)
    check_resolved(total, steps["warmup"])
    return Durations(total=total, **steps)


def shares(config: ml_collections.ConfigDict, durations: Durations) -> dict[str, list]:
    """Returns the fields that are shares of the training, each with its text and its steps."""
    found = {}
    for name, path in _SHARES.items():
        section, _, field = path.partition(".")
        text = config[section][field]
        if parse_duration(text)[1] == "%":
            found[path] = [text, getattr(durations, name)]
    return found
