"""Rules of a grammar that can count its derivations.

A rule has the number of its derivations and a function that draws one. Larger rules are built from
smaller ones with `each`, `choose_one` and `combine`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Draw:
    """Choices taken from one large random number, one digit at a time, in any base."""

    __slots__ = ("number",)

    def __init__(self, number: int):
        self.number = number

    def below(self, count: int) -> int:
        """Returns the next choice, from 0 to `count - 1`."""
        self.number, choice = divmod(self.number, count)
        return choice


class Production(NamedTuple):
    """A part of the grammar: the number of its derivations and a function that draws one."""

    count: int
    draw: Callable[[Draw], Any]


def each(*values: Any) -> Production:
    """One of several values, all equally likely."""
    size = len(values)
    if not values:
        raise ValueError("A rule needs at least one value.")
    if size == 1:
        return Production(1, lambda draw: values[0])
    return Production(size, lambda draw: values[draw.below(size)])


def choose_one(rules: Sequence[Production], weights: Sequence[int] | None = None) -> Production:
    """One of several rules, with probabilities proportional to integer weights."""
    weights = weights or [1] * len(rules)
    table = [rule.draw for rule, weight in zip(rules, weights, strict=True) for _ in range(weight)]
    size = len(table)
    return Production(sum(rule.count for rule in rules), lambda draw: table[draw.below(size)](draw))


def combine(function: Callable[..., Any], *rules: Production) -> Production:
    """A function of one derivation of each rule."""
    count = 1
    for rule in rules:
        count *= rule.count
    draws = [rule.draw for rule in rules]
    if len(draws) == 2:
        # The most frequent case, made faster without a list.
        first, second = draws
        return Production(count, lambda draw: function(first(draw), second(draw)))
    return Production(count, lambda draw: function(*[part(draw) for part in draws]))
