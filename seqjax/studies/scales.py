"""Axes of parallel coordinates: the place of each value from 0 to 1, and labelled ticks."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from seqjax.studies.space import Choice, Domain, Reals

# The number of ticks aimed at.
_TICKS = 6
# Axes with more distinct values are continuous.
_MOST_WORDS = 10
# Larger numbers are written in scientific notation.
_MANY = 1e7


class Tick(NamedTuple):
    """A tick at a place from 0 to 1, and its label."""

    place: float
    label: str


class Scale:
    """Maps values to places from 0 to 1; values beyond the ends lie beyond them."""

    def __init__(self, low: float, high: float, log: bool = False):
        """Spans the numbers from low to high, by their logarithms if `log` is set."""
        if low == high:
            # A single value lies in the middle.
            low, high = (low / 2, high * 2) if log else (low - 1, high + 1)
        self.low, self.high, self.log = low, high, log

    def place(self, value: float) -> float:
        """Returns the place of a number."""
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        return math.log(max(value, 1e-300) / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[Tick]:
        """Returns ticks at round numbers."""
        values = _decades(self.low, self.high) if self.log else _rounds(self.low, self.high)
        return [Tick(self.place(value), label(value)) for value in values]


class Words:
    """Maps a few values, evenly spaced, to places from 0 to 1."""

    def __init__(self, values: Sequence[Any]):
        """Spans the values in the given order."""
        self._values = list(values)

    def place(self, value: Any) -> float:
        """Returns the place of a value."""
        count = len(self._values)
        return self._values.index(value) / (count - 1) if count > 1 else 0.5

    def ticks(self) -> list[Tick]:
        """Returns a tick for each value."""
        return [Tick(self.place(value), label(value)) for value in self._values]


def scale_of(domain: Domain) -> Scale | Words:
    """Returns the scale of a domain."""
    if isinstance(domain, Choice):
        return Words(domain.values)
    if isinstance(domain, Reals):
        return Scale(domain.low, domain.high, domain.log)
    points = domain.points()
    return Words(points) if len(points) <= _MOST_WORDS else Scale(points[0], points[-1])


def listed(values: Sequence[Any]) -> Words | None:
    """Returns the scale of listed values, numbers sorted; None for more than ten of them."""
    distinct = list(dict.fromkeys(values))
    if len(distinct) > _MOST_WORDS:
        return None
    numbers = all(isinstance(value, int | float) for value in distinct)
    return Words(sorted(distinct) if numbers else distinct)


def label(value: Any) -> str:
    """Returns the label of a value."""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    whole = value == round(value) and abs(value) < _MANY
    return f"{value:,.0f}" if whole else f"{value:.4g}"


def _rounds(low: float, high: float) -> list[float]:
    """Returns multiples of 1, 2 or 5 times a power of ten between the ends."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # Without the rounding, three times a tenth would be 0.30000000000000004.
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Returns 1, 2 and 5 times the powers of ten between the ends, or fewer if these are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        values = [float(f"{digit}e{power}") for power in powers for digit in digits]
        found = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(found) <= _TICKS + 1:
            break
    return found or [low, high]
