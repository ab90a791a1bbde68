"""Durations as a user writes them: steps, epochs, tokens, a time, or a share of the training.

This module reads them, so that a config can be checked before any work. Steps are known once the
corpus has been read (`resolve`); how a time is kept is the training's business.
"""

import math
import re

from seqjax.errors import UserError

# The units that `parse_duration` returns, and how each is written in a message.
UNITS = {
    "steps": "'500 steps'",
    "epochs": "'2.5 epochs'",
    "tokens": "'4M tokens'",
    "%": "'10%'",
    "seconds": "'30 minutes'",
}
# The number of a step is an int32 on the device.
MOST_STEPS = 2**31 - 1
# An epoch has a step at least. A step has fewer than 2^31 tokens.
_MOST = {
    "steps": MOST_STEPS,
    "epochs": MOST_STEPS,
    "tokens": MOST_STEPS**2,
    "seconds": MOST_STEPS,
    "%": 100,
}
_SCALES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
_FORM = re.compile(
    r"\s*(?P<number>[0-9.][0-9_.]*(?:[eE][+-]?[0-9]+)?)\s*"
    r"(?:(?P<scale>[kKMGB]?)\s*(?P<count>(?i:steps?|epochs?|tokens?)|)"
    r"|(?P<share>%)"
    r"|(?i:(?P<s>s|secs?|seconds?)|(?P<min>mins?|minutes?)|(?P<h>h|hrs?|hours?)|(?P<d>d|days?)))\s*"
)


def parse_duration(text: str) -> tuple[float, str]:
    """Returns the number and the unit: `'steps'`, `'epochs'`, `'tokens'`, `'seconds'` or `'%'`.

    A bare number counts steps. `k`, `M`, `G` and `B` (both 10^9) multiply a count: `'1.5k steps'`,
    `'4M tokens'`. A time has seconds, minutes, hours or days, in short `s`, `min`, `h`, `d`, and
    comes out in seconds. A share is at most 100%.

    Raises:
      UserError: anything else, or a number out of bounds; the message begins with the text, not
        with a field.
    """
    wrong = wrong_duration(text)
    if wrong:
        raise UserError(f"{text!r}: expected {wrong}")
    return _read(text)


def wrong_duration(text: str, units: tuple[str, ...] = tuple(UNITS)) -> str:
    """Returns what is expected in place of `text`, `''` if it is a duration in one of the units."""
    number, unit = _read(text)
    if unit not in units or math.isnan(number):
        return expected_duration(units)
    if number <= _MOST[unit]:
        return ""
    return "at most 100%" if unit == "%" else f"at most {_MOST[unit]:,} {unit}"


def expected_duration(units: tuple[str, ...] = tuple(UNITS)) -> str:
    """Returns what a duration in some units may look like, for a message."""
    *most, last = [UNITS[unit] for unit in units]
    return f"a duration such as {', '.join(most)} or {last}"


def _read(text: str) -> tuple[float, str]:
    """Returns the number and the unit of a text, NaN and `''` if it is no duration."""
    match = _FORM.fullmatch(text)
    try:
        number = float(match["number"]) if match else math.nan
    except ValueError:
        number = math.nan
    if math.isnan(number):
        return math.nan, ""
    if match["share"]:
        return number, "%"
    for unit, seconds in _SECONDS.items():
        if match[unit]:
            return number * seconds, "seconds"
    return number * _SCALES[match["scale"]], f"{match['count'].lower().rstrip('s') or 'step'}s"


def resolve(
    field: str,
    text: str,
    steps_per_epoch: int,
    tokens_per_epoch: int,
    total_steps: int | None = None,
) -> int:
    """Returns a duration in steps: rounded to the nearest, and at least 1 unless it is zero.

    Args:
      field: the field that holds it, for messages.
      text: the duration.
      steps_per_epoch: updates in one pass over the training corpus.
      tokens_per_epoch: target tokens in one pass.
      total_steps: updates of the whole training, needed for a share only.

    Raises:
      UserError: not a duration, a time, a share where no total is known, or more steps than can be
        counted.
    """
    shares = () if total_steps is None else ("%",)
    wrong = wrong_duration(text, ("steps", "epochs", "tokens", *shares))
    if wrong:
        raise UserError(f"{field} = {text!r}: expected {wrong}")
    number, unit = _read(text)
    steps_per_unit = {
        "steps": 1.0,
        "epochs": steps_per_epoch,
        "tokens": steps_per_epoch / max(1, tokens_per_epoch),
        "%": (total_steps or 0) / 100,
    }
    steps = number * steps_per_unit[unit]
    if steps > MOST_STEPS:
        raise UserError(
            f"{field} = {text!r}: expected at most {MOST_STEPS:,} steps; on this corpus it is"
            f" {steps:.3g}"
        )
    return max(1, math.floor(steps + 0.5)) if number else 0
