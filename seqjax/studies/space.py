"""What a hyperparameter may be: the ranges and choices that a search or a random sample draws from.

space = {
    "optimizer.learning_rate": log_uniform(1e-4, 1e-2),
    "model.encoder.layers": integers(1, 4),
    "model.decoder.attention": choice("dot", "additive"),
}
"""

import dataclasses
import math
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from seqjax.errors import UserError
from seqjax.validation import check_value
from seqjax.values import plain

if TYPE_CHECKING:
    import optuna

# From this ratio on, numbers are compared by their logarithms.
_WIDE = 10
# At least this many whole numbers are tried to see whether a field accepts a range.
_ENOUGH = 100


class Domain(Protocol):
    """The values that one field may take; as a string, how it is written in a study file."""

    def draw(self, generator: random.Random) -> Any:
        """Returns a random value."""

    def points(self) -> Sequence[Any]:
        """Returns all values, or none if they cannot be counted."""

    def corners(self) -> Sequence[Any]:
        """Returns values that show whether a field accepts all of them."""

    def distribution(self) -> "optuna.distributions.BaseDistribution":
        """Returns its distribution in Optuna."""

    def outside(self, value: Any) -> Any:
        """Returns a value as Optuna has it."""

    def inside(self, value: Any) -> Any:
        """Returns a value of Optuna as the config has it."""


@dataclasses.dataclass(frozen=True)
class Reals:
    """Numbers from `low` to `high`, uniform by themselves or by their logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self):
        least = 0 if self.log else -math.inf
        if not least < self.low < self.high < math.inf:
            raise UserError(f"{self}: expected {'0 < ' if self.log else ''}low < high")

    def draw(self, generator: random.Random) -> float:
        """Returns a random value."""
        if not self.log:
            return generator.uniform(self.low, self.high)
        value = math.exp(generator.uniform(math.log(self.low), math.log(self.high)))
        # Rounding may leave the range.
        return min(max(value, self.low), self.high)

    def points(self) -> Sequence[float]:
        """Returns no values: they cannot be counted."""
        return ()

    def corners(self) -> Sequence[float]:
        """Returns the ends of the range."""
        return (self.low, self.high)

    def distribution(self) -> "optuna.distributions.BaseDistribution":
        """Returns its distribution in Optuna."""
        import optuna

        return optuna.distributions.FloatDistribution(self.low, self.high, log=self.log)

    def outside(self, value: float) -> float:
        """Returns a value as Optuna has it."""
        return float(value)

    def inside(self, value: float) -> float:
        """Returns a value of Optuna as the config has it."""
        return value

    def __str__(self) -> str:
        return f"{'log_' if self.log else ''}uniform({self.low!r}, {self.high!r})"


@dataclasses.dataclass(frozen=True)
class Integers:
    """Whole numbers from `low` to `high`, both included, each `step` apart from the next."""

    low: int
    high: int
    step: int = 1

    def __post_init__(self):
        whole = all(type(number) is int for number in (self.low, self.high, self.step))
        if not whole or not self.points() or self.high not in self.points():
            raise UserError(
                f"{self}: expected whole numbers, low < high, and steps that reach high"
            )

    def draw(self, generator: random.Random) -> int:
        """Returns a random value."""
        return generator.choice(self.points())

    def points(self) -> Sequence[int]:
        """Returns all values."""
        return range(self.low, self.high + 1, self.step) if self.step > 0 else ()

    def corners(self) -> Sequence[int]:
        """Returns all values, or a part of very many: a field may accept 4 and 8, but not 6."""
        points = self.points()
        return (*points[:: math.ceil(len(points) / _ENOUGH)], self.high)

    def distribution(self) -> "optuna.distributions.BaseDistribution":
        """Returns its distribution in Optuna."""
        import optuna

        return optuna.distributions.IntDistribution(self.low, self.high, step=self.step)

    def outside(self, value: int) -> int:
        """Returns a value as Optuna has it."""
        return value

    def inside(self, value: int) -> int:
        """Returns a value of Optuna as the config has it."""
        return value

    def __str__(self) -> str:
        step = "" if self.step == 1 else f", step={self.step}"
        return f"integers({self.low}, {self.high}{step})"


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of a few values without an order."""

    values: tuple[Any, ...]

    def __post_init__(self):
        if not self.values or len(set(map(repr, self.values))) < len(self.values):
            raise UserError(f"{self}: expected at least one value, and each of them once")

    def draw(self, generator: random.Random) -> Any:
        """Returns a random value."""
        return generator.choice(self.values)

    def points(self) -> Sequence[Any]:
        """Returns all values."""
        return self.values

    def corners(self) -> Sequence[Any]:
        """Returns all values."""
        return self.values

    def distribution(self) -> "optuna.distributions.BaseDistribution":
        """Returns its distribution in Optuna."""
        import optuna

        return optuna.distributions.CategoricalDistribution(tuple(map(self.outside, self.values)))

    def outside(self, value: Any) -> Any:
        """Returns a value as Optuna has it, which knows no tuples."""
        return str(value) if isinstance(value, tuple) else value

    def inside(self, value: Any) -> Any:
        """Returns a value of Optuna as the config has it."""
        return next((own for own in self.values if self.outside(own) == value), value)

    def __str__(self) -> str:
        return f"choice({', '.join(map(repr, self.values))})"


def uniform(low: float, high: float) -> Reals:
    """Returns the numbers from low to high."""
    return Reals(plain(low), plain(high))


def log_uniform(low: float, high: float) -> Reals:
    """Returns the numbers from low to high whose logarithms are uniform: learning rates."""
    return Reals(plain(low), plain(high), log=True)


def integers(low: int, high: int, step: int = 1) -> Integers:
    """Returns the whole numbers from low to high, both included."""
    return Integers(plain(low), plain(high), plain(step))


def choice(*values: Any) -> Choice:
    """Returns the values given."""
    return Choice(plain(values))


def domain_of(values: Sequence[Any]) -> Domain:
    """Returns the least domain that holds values which were listed: a range of numbers, or all."""
    numbers = all(isinstance(value, int | float) for value in values)
    if not numbers or any(isinstance(value, bool) for value in values) or len(set(values)) < 2:
        return Choice(tuple(dict.fromkeys(values)))
    low, high = min(values), max(values)
    return Reals(low, high, log=low > 0 and high >= _WIDE * low)


def check_space(space: Mapping[str, Domain]) -> None:
    """Checks that each field exists and can have the values that it may get.

    Raises:
      UserError: there is no field, an unknown one, or values of another type or out of range.
    """
    if not space:
        raise UserError(
            "the space is empty: expected at least one field, such as"
            " {'optimizer.learning_rate': log_uniform(1e-4, 1e-2)}"
        )
    for field, domain in space.items():
        if not isinstance(domain, Reals | Integers | Choice):
            raise UserError(
                f"{field}: {domain!r} is no range: expected uniform(low, high), log_uniform(low,"
                " high), integers(low, high) or choice(...)"
            )
        for value in domain.corners():
            check_value(field, value)
