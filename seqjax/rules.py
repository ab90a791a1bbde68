"""The kinds of rules that a config is checked against."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from ml_collections import ConfigDict

# The largest whole number on a device.
_MOST = 2**31 - 1


class Rule(NamedTuple):
    """What one field may hold.

    Attributes:
      accepts: whether a value is right.
      expected: the values that are.
      known: the names among which the nearest is looked for, if the value is one of a few.
      reason: what is expected in place of one wrong value, if that says more; else `''`.
    """

    accepts: Callable[[Any], bool]
    expected: str
    known: tuple[str, ...] = ()
    reason: Callable[[Any], str] = lambda value: ""

    def told(self, value: Any) -> str:
        """Returns what is expected in place of a wrong value."""
        if isinstance(value, float) and not math.isfinite(value):
            return "a finite number"
        return self.reason(value) or self.expected


class Relation(NamedTuple):
    """A condition between fields: the field that is named, whether it holds, what is expected.

    The expectation may name the values of other fields in braces, or be a function of the config.
    """

    field: str
    holds: Callable[[ConfigDict], bool]
    expected: str | Callable[[ConfigDict], str]

    def told(self, config: ConfigDict) -> str:
        """Returns what is expected in a config."""
        if callable(self.expected):
            return self.expected(config)
        return self.expected.format(**config)


def quoted(names: tuple[str, ...]) -> str:
    """Returns names as a string, `'a', 'b'`."""
    return ", ".join(map(repr, names))


def one_of(*known: str) -> Rule:
    """Returns the rule of a field that holds one of a few names."""
    return Rule(lambda value: value in known, f"one of {quoted(known)}", known)


def some_of(*known: str) -> Rule:
    """Returns the rule of a tuple of some of a few names."""

    def accepts(value: tuple[str, ...]) -> bool:
        return set(value) <= set(known) and len(set(value)) == len(value)

    return Rule(accepts, f"each at most once of {quoted(known)}", known)


def at_least(low: int | float) -> Rule:
    """Returns the rule of a finite number from `low` on; whole ones are 32 bits wide."""
    return Rule(
        lambda value: low <= value < math.inf and not _is_too_wide(value),
        f"at least {low}",
        reason=_bound,
    )


def _is_too_wide(value: Any) -> bool:
    return isinstance(value, int) and value > _MOST


def _bound(value: Any) -> str:
    return f"at most {_MOST:,}" if _is_too_wide(value) else ""


def between(low: int, high: int) -> Rule:
    """Returns the rule of a number in a range, its ends included."""
    return Rule(lambda value: low <= value <= high, f"{low} to {high}")


def where(accepts: Callable[[Any], bool], expected: str) -> Rule:
    """Returns a rule from a condition."""
    return Rule(accepts, expected)


ANYTHING = where(lambda value: True, "anything")
FILLED = where(bool, "a string that is not empty")
POSITIVE = where(lambda value: 0 < value < math.inf, "a number greater than 0")
PROBABILITY = where(lambda value: 0 <= value < 1, "0 or more and less than 1")
ALL_OR_SOME = Rule(
    lambda value: value == -1 or 1 <= value <= _MOST, "at least 1, or -1 for all", reason=_bound
)
