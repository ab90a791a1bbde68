"""Durations as a user writes them: steps, epochs, tokens, or a share of the training.

The parser stands on the ground floor, so that the config can check a duration
before any work; turning it into steps needs the corpus and happens in training.
"""

import math
import re

from seqjax.errors import UserError

# What a duration may look like, for an error.
EXPECTED = "a duration such as '500 steps', '2.5 epochs', '4M tokens' or '10%'"

_FORM = re.compile(
    r"\s*(?P<number>[0-9.][0-9_.]*(?:[eE][+-]?[0-9]+)?)\s*(?P<scale>[kKMGB]?)"
    r"\s*(?P<unit>%|steps?|epochs?|tokens?|)\s*"
)
_SCALES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}


def parse_duration(text: str) -> tuple[float, str]:
    """Returns the number and the unit: `'steps'`, `'epochs'`, `'tokens'` or `'%'`.

    A bare number counts steps. `k`, `M`, `G` and `B` (both 10^9) after the number
    multiply it: `'1.5k steps'`, `'4M tokens'`. A share is at most 100%.

    Raises:
      UserError: anything else; the message begins with the text, not with a field.
    """
    match = _FORM.fullmatch(text)
    try:
        number = float(match["number"]) * _SCALES[match["scale"]] if match else math.nan
    except ValueError:
        number = math.nan
    unit = match["unit"] if match else ""
    is_share = unit == "%"
    if not math.isfinite(number) or (is_share and (number > 100 or match["scale"])):
        raise UserError(f"{text!r}: expected {EXPECTED}")
    return number, "%" if is_share else f"{unit.rstrip('s') or 'step'}s"


def resolve(
    text: str, steps_per_epoch: int, tokens_per_epoch: int, total_steps: int | None = None
) -> int:
    """Returns a duration in steps: rounded to the nearest, and at least 1 unless it is zero.

    Args:
      text: the duration.
      steps_per_epoch: updates in one pass over the training corpus.
      tokens_per_epoch: target tokens in one pass.
      total_steps: updates of the whole training, needed for a share only.

    Raises:
      UserError: not a duration, or a share where no total is known.
    """
    number, unit = parse_duration(text)
    if unit == "%" and total_steps is None:
        raise UserError(f"{text!r}: expected steps, epochs or tokens, a share has no meaning here")
    steps_per_unit = {
        "steps": 1.0,
        "epochs": steps_per_epoch,
        "tokens": steps_per_epoch / max(1, tokens_per_epoch),
        "%": (total_steps or 0) / 100,
    }
    return max(1, math.floor(number * steps_per_unit[unit] + 0.5)) if number else 0
