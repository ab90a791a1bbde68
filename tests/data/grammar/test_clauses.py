"""Tests of the word order, on clauses written by hand."""

import pytest

from seqjax.data.grammar import clauses, lexicon
from seqjax.data.grammar.clauses import Clause, Phrase, Predicate

_NOUNS = {noun.english: noun for noun in lexicon.NOUNS}
_CALL = next(verb for verb in lexicon.TRANSITIVE if verb.english == "call")
_BUY = lexicon.TRANSITIVE[0]
_HELP = lexicon.DATIVE[0]
_TODAY = ("today", "heute")
_HE = Phrase("he", "er", "", "")
_CALLS_THE_BOY = Predicate(_CALL, "the boy", object="den Jungen")


@pytest.mark.parametrize(
    ("order", "tense", "negated", "english", "german"),
    [
        ("plain", "present", False, "he calls the boy today", "er ruft heute den Jungen an"),
        ("fronted", "present", False, "today he calls the boy", "heute ruft er den Jungen an"),
        ("fronted", "past", True, "today he did not call the boy",
         "heute hat er den Jungen nicht angerufen"),
        ("fronted", "can", True, "today he cannot call the boy",
         "heute kann er den Jungen nicht anrufen"),
        ("question", "present", False, "does he call the boy today",
         "ruft er heute den Jungen an"),
        ("question", "want to", False, "does he want to call the boy today",
         "will er heute den Jungen anrufen"),
    ],
)  # fmt: skip
def test_main_clauses(order, tense, negated, english, german):
    clause = Clause(_HE, _CALLS_THE_BOY, tense, _TODAY, negated)
    assert clauses.english_clause(clause, order) == english
    assert clauses.german_clause(clause, order) == german


@pytest.mark.parametrize(
    ("tense", "german"),
    [
        ("present", "er heute den Jungen anruft"),
        ("past", "er heute den Jungen angerufen hat"),
        ("must", "er heute den Jungen anrufen muss"),
    ],
)
def test_subordinate_clauses_end_with_the_verb(tense, german):
    clause = Clause(_HE, _CALLS_THE_BOY, tense, _TODAY)
    assert clauses.german_clause(clause, "subordinate") == german


def test_relative_clauses():
    woman = clauses.noun_phrase(_NOUNS["woman"], ("the", False), None)
    men = clauses.noun_phrase(_NOUNS["man"], ("the", True), None)
    book = clauses.noun_phrase(_NOUNS["book"], ("a", False), None)
    calling = clauses.subject_relative(woman, _CALLS_THE_BOY, "present")
    helped = clauses.object_relative(men, _HE, _HELP, "past")
    bought = clauses.object_relative(book, _HE, _BUY, "will")
    assert calling.relative == ("who calls the boy", "die den Jungen anruft")
    assert helped.relative == ("whom he helped", "denen er geholfen hat")
    assert bought.relative == ("that he will buy", "das er kaufen wird")


def test_relative_clause_of_the_object_moves_behind_the_verb():
    head = clauses.noun_phrase(_NOUNS["book"], ("the", False), None)
    head = clauses.object_relative(head, _HE, _CALL, "present")
    predicate = Predicate(_BUY, head.english, object=head.accusative, tail=head.relative)
    german = clauses.german_clause(Clause(_HE, predicate, "past"))
    assert clauses.punctuate(german, ".") == "Er hat das Buch gekauft, das er anruft."


def test_held_out_pairs_leave_every_word_in_training():
    for noun in lexicon.NOUNS:
        fitting = [word for word in lexicon.ADJECTIVES if noun.kind in word.kinds]
        assert not all(clauses.held_out(word, noun) for word in fitting)
    for verb in lexicon.TRANSITIVE:
        objects = [noun for noun in lexicon.NOUNS if set(noun.classes) & set(verb.objects)]
        assert not all(clauses.held_out(verb, noun) for noun in objects)
