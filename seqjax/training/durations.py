"""The durations of a run in steps, of which shares stay what they were when the run began.

A run that is lengthened keeps its warm-up and its cadences: '10%' of 2,000 steps are 200 also after
train.duration has become 4,000. A training of '3 minutes' is measured once, when it begins: it has
the number of steps that fit into them, and resumes exactly as any other.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_collections

from seqjax.duration import parse_duration, resolve
from seqjax.training.schedule_fields import check_resolved

_TOTAL = "train.duration"
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
    hold: int = 0
    interval: int = 1


def durations_of(
    config: ml_collections.ConfigDict,
    steps_per_epoch: int,
    tokens_per_epoch: int,
    clock: Mapping[str, Any],
    steps_within: Callable[[float], int],
) -> Durations:
    """Returns the durations of a config; times and shares that a run's clock knows stay the same.

    Args:
      config: a validated config.
      steps_per_epoch: updates in one pass over the training corpus.
      tokens_per_epoch: target tokens in one pass.
      clock: that of the newest checkpoint, empty if there is none.
      steps_within: gives the number of updates that take some seconds.

    Raises:
      UserError: the warm-up is longer than the training, or a number of steps is too large.
    """
    epoch = steps_per_epoch, tokens_per_epoch
    known = dict(clock.get("shares", {}))
    number, unit = parse_duration(config.train.duration)
    if unit != "seconds":
        total = resolve("train.duration", config.train.duration, *epoch)
    elif known.get(_TOTAL, ("",))[0] == config.train.duration:
        total = known[_TOTAL][1]
    else:
        total = steps_within(number)
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
    if config.schedule.kind == "step":
        for name in ("hold", "interval"):
            steps[name] = resolve(f"schedule.{name}", config.schedule[name], *epoch, total)
        steps["interval"] = max(steps["interval"], 1)
    check_resolved(total, steps["warmup"])
    return Durations(total=total, **steps)


def shares(config: ml_collections.ConfigDict, durations: Durations) -> dict[str, list]:
    """Returns the fields that are shares of the training or times, each with text and steps."""
    found = {}
    if parse_duration(config.train.duration)[1] == "seconds":
        found[_TOTAL] = [config.train.duration, durations.total]
    for name, path in _SHARES.items():
        section, _, field = path.partition(".")
        text = config[section][field]
        if parse_duration(text)[1] == "%":
            found[path] = [text, getattr(durations, name)]
    return found
