"""Tests of the rules for noun phrases and predicates."""

import random

import pytest

from seqjax.data.grammar import lexicon
from seqjax.data.grammar.inflection import english_noun_phrase
from seqjax.data.grammar.predicates import ANY, MOVING, STAYING, accepted, adjectives, phrases
from seqjax.data.grammar.productions import Draw


def _sample(rule, size):
    numbers = random.Random(0)
    return [rule.draw(Draw(numbers.getrandbits(512))) for _ in range(size)]


def test_grammar_spans_more_than_a_billion_sentences():
    options = set(_sample(ANY, 20_000))
    assert len(options) == ANY.count
    sizes = []
    for nouns in (lexicon.PERSONS, lexicon.THINGS):
        spelled = {
            english_noun_phrase(determiner, adjective, noun, plural)
            for determiner, plural in options
            for noun in nouns
            for adjective in (None, *adjectives(noun))
        }
        assert len(spelled) == phrases(nouns, ANY).count
        sizes.append(len(spelled))
    verbs = [verb for verb in lexicon.TRANSITIVE if "t" in verb.objects]
    # Subject, verb and object alone, in the past tense.
    assert sizes[0] * len(verbs) * sizes[1] > 10**9


@pytest.mark.parametrize(
    ("rule", "english", "german"),
    [
        (STAYING, "in the ", ("im ", "in der ")),
        (STAYING, "in front of the ", ("vor dem ", "vor der ")),
        (MOVING, "into the ", ("in den ", "in die ", "ins ")),
        (MOVING, "into a ", ("in einen ", "in eine ", "in ein ")),
    ],
)
def test_prepositions_govern_their_case(rule, english, german):
    places = [place for place in _sample(rule, 2000) if place.english.startswith(english)]
    assert places
    assert {place.late.startswith(german) for place in places} == {True}


def test_objects_suit_their_verb():
    eat = next(verb for verb in lexicon.TRANSITIVE if verb.english == "eat")
    assert {noun.english for noun in accepted(eat)} == {"apple", "cake", "egg"}
