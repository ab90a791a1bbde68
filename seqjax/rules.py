"""How a field of a config is declared, and the kinds of rules that it is checked against."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from seqjax.duration import expected_duration, parse_duration, wrong_duration

# The largest whole number on a device.
_MOST = 2**31 - 1
# The largest and the smallest positive number of 32 bits, in which numbers are computed.
_LARGEST = 3.4e38
_SMALLEST = 1.2e-38


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

    def expectation(self, value: Any) -> str:
        """Returns what is expected in place of a wrong value."""
        if isinstance(value, float) and not math.isfinite(value):
            return "a finite number"
        return self.reason(value) or self.expected


class Field(NamedTuple):
    """A field of a config.

    Attributes:
      default: its value in `default_config()`, of the type that it always has.
      rule: what it may hold.
      meaning: what it does; a row of docs/CONFIG.md.
      narrower: for a field of both stacks, section -> the rule there, if it accepts less.
    """

    default: Any
    rule: Rule
    meaning: str
    narrower: Mapping[str, Rule] = MappingProxyType({})


class Relation(NamedTuple):
    """A condition between fields: the field that is named, whether it holds, what is expected.

    The expectation may name the values of other fields in braces, or be a function of the config.
    """

    field: str
    holds: Callable[[ConfigDict], bool]
    expected: str | Callable[[ConfigDict], str]

    def expectation(self, config: ConfigDict) -> str:
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
    """Returns the rule of a finite number from `low` on, of 32 bits."""
    return Rule(lambda value: low <= value and not _bound(value), f"at least {low}", reason=_bound)


def _bound(value: Any) -> str:
    """Returns what is expected in place of a number that 32 bits cannot hold, else `''`."""
    if isinstance(value, int):
        return f"at most {_MOST:,}" if value > _MOST else ""
    if value > _LARGEST:
        return f"at most {_LARGEST}, the largest number of 32 bits"
    if 0 < value < _SMALLEST:
        return f"at least {_SMALLEST}, the smallest number of 32 bits"
    return ""


def between(low: int, high: int) -> Rule:
    """Returns the rule of a number in a range, its ends included."""
    return Rule(lambda value: low <= value <= high, f"{low} to {high}")


def where(accepts: Callable[[Any], bool], expected: str) -> Rule:
    """Returns a rule from a condition."""
    return Rule(accepts, expected)


ANYTHING = where(lambda value: True, "anything")
FILLED = where(bool, "a string that is not empty")
POSITIVE = Rule(
    lambda value: value > 0 and not _bound(value), "a number greater than 0", reason=_bound
)
PROBABILITY = where(lambda value: 0 <= value < 1, "0 or more and less than 1")
ALL_OR_SOME = Rule(
    lambda value: value == -1 or 1 <= value <= _MOST, "at least 1, or -1 for all", reason=_bound
)


def is_never(text: str) -> bool:
    """Returns whether a duration is none at all."""
    return parse_duration(text)[0] == 0


def duration_in(*units: str, never: bool = True) -> Rule:
    """Returns the rule of a duration in one of some units, which may be 0 or not."""

    def wrong(text: str) -> str:
        found = wrong_duration(text, units)
        # A number out of bounds says more than the units do.
        return "" if found == expected_duration(units) else found

    return Rule(
        lambda text: not wrong_duration(text, units) and (never or not is_never(text)),
        expected_duration(units) + ("" if never else ", more than 0"),
        reason=wrong,
    )


# Resumed, a run evaluates, saves and reports after the same updates as if it had not been stopped.
EVERY = duration_in("steps", "epochs", "tokens", "%")
