"""Tests of the combinators that grammars are built from."""

import pytest

from seqjax.data.grammar.productions import Draw, choose_one, combine, each


def _all(rule):
    return {rule.draw(Draw(number)) for number in range(1000)}


def test_count_is_the_number_of_derivations():
    rule = combine(lambda *parts: parts, each(1, 2, 3), choose_one([each("a"), each("b", "c")]))
    assert rule.count == 9 == len(_all(rule))
    rule = combine(lambda *parts: parts, each(1, 2), each(3), each(4, 5))
    assert rule.count == 4 == len(_all(rule))


def test_weights_change_frequencies_and_not_the_count():
    rule = choose_one([each("a"), each("b")], (3, 1))
    drawn = [rule.draw(Draw(number)) for number in range(400)]
    assert rule.count == 2
    assert drawn.count("a") == 300


def test_an_empty_rule_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        each()
