"""Rules of a grammar that counts itself.

A rule knows how many derivations it has and how to draw one; bigger rules are built from smaller
ones with `each`, `one_of` and `combine`.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Draw:
    """Choices read off one large random number, digit by digit in the base that is needed."""

    __slots__ = ("number",)

    def __init__(self, number: int):
        self.number = number

    def below(self, count: int) -> int:
        """Returns the next choice, from 0 to `count - 1`."""
        self.number, choice = divmod(self.number, count)
        return choice


class Rule(NamedTuple):
    """A part of the grammar: the number of its derivations, and a way to draw one."""

    count: int
    draw: Callable[[Draw], Any]


def each(*values: Any) -> Rule:
    """One of some values, all equally likely."""
    size = len(values)
    if not values:
        raise ValueError("A rule needs at least one value.")
    if size == 1:
        return Rule(1, lambda draw: values[0])
    return Rule(size, lambda draw: values[draw.below(size)])


def one_of(rules: Sequence[Rule], weights: Sequence[int] | None = None) -> Rule:
    """One of some rules, in proportion to whole-numbered weights."""
    weights = weights or [1] * len(rules)
    table = [rule.draw for rule, weight in zip(rules, weights, strict=True) for _ in range(weight)]
    size = len(table)
    return Rule(sum(rule.count for rule in rules), lambda draw: table[draw.below(size)](draw))


def combine(function: Callable[..., Any], *rules: Rule) -> Rule:
    """A function of one derivation of each rule."""
    count = 1
    for rule in rules:
        count *= rule.count
    draws = [rule.draw for rule in rules]
    if len(draws) == 2:
        # Spares the list in the most frequent case, on the way of every sentence.
        first, second = draws
        return Rule(count, lambda draw: function(first(draw), second(draw)))
    return Rule(count, lambda draw: function(*[part(draw) for part in draws]))
