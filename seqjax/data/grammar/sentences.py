"""Rules for clauses and whole sentences."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from seqjax.data.grammar import lexicon
from seqjax.data.grammar.clauses import (
    Clause,
    Phrase,
    Predicate,
    english_clause,
    german_clause,
    noun_phrase,
    object_relative,
    punctuate,
    subject_relative,
)
from seqjax.data.grammar.inflection import MODALS
from seqjax.data.grammar.lexicon import Noun
from seqjax.data.grammar.predicates import (
    ANY,
    BARE,
    DEFINITE,
    DEFINITE_SUBJECTS,
    HEAD,
    MOVING,
    NAMES,
    NEGATED_PREDICATES,
    PREDICATES,
    STAYING,
    SUBJECT_PRONOUNS,
    SUBJECTS,
    accepted,
    adjectives,
    phrases,
    transitive,
)
from seqjax.data.grammar.productions import Production, choose_one, combine, each

# Clauses: (tense, adverb) first, since temporal adverbs depend on the tense.
_ALWAYS = (("today", "heute"), ("in the evening", "am Abend"), ("in the morning", "am Morgen"))
_PRESENT = (*_ALWAYS, ("every day", "jeden Tag"), ("now", "jetzt"))
_PAST = (*_ALWAYS, ("yesterday", "gestern"), ("last week", "letzte Woche"))
_FUTURE = (*_ALWAYS, ("tomorrow", "morgen"), ("next week", "nächste Woche"))
# Negated clauses have no 'must', since 'must not' is 'nicht dürfen'.
_NEGATABLE = tuple(modal for modal in MODALS if modal != "must")


def _tuple(*parts: Any) -> tuple:
    return parts


def _times(modals: Sequence[str], adverb: bool) -> Production:
    nothing = each(("", ""))
    return choose_one(
        [
            combine(_tuple, each("present"), each(*_PRESENT) if adverb else nothing),
            combine(_tuple, each("past"), each(*_PAST) if adverb else nothing),
            combine(_tuple, each(*modals), each(*_FUTURE) if adverb else nothing),
        ],
        (4, 3, 3),
    )


def _clause(subject: Phrase, predicate: Predicate, time: tuple, negated: bool = False) -> Clause:
    return Clause(subject, predicate, *time, negated)


def _clauses(adverb: bool) -> Production:
    return combine(_clause, SUBJECTS, PREDICATES, _times(MODALS, adverb))


def _negated_clauses(adverb: bool) -> Production:
    times = _times(_NEGATABLE, adverb)
    return combine(_clause, DEFINITE_SUBJECTS, NEGATED_PREDICATES, times, each(True))


_DEGREES = choose_one([each(("", "")), each(("very", "sehr"), ("too", "zu"))])


def _being(
    subject: Phrase, adjective: lexicon.Adjective, degree: tuple, tense: str, negated: bool
) -> Clause:
    english, german = (
        f"{word} {form}".strip() for word, form in zip(degree, adjective[1:3], strict=True)
    )
    predicate = Predicate(None, english, late=german, adjective=adjective)
    return Clause(subject, predicate, tense, negated=negated)


def _copular(
    nouns: Sequence[Noun], subjects: Callable[[Noun], Production], negated: bool
) -> Production:
    tense, polarity = each("present", "past"), each(negated)
    of_nouns = [
        combine(_being, subjects(noun), each(*adjectives(noun)), _DEGREES, tense, polarity)
        for noun in nouns
    ]
    persons = choose_one([SUBJECT_PRONOUNS, NAMES], (3, 1))
    of_persons = each(*(word for word in lexicon.ADJECTIVES if "p" in word.kinds))
    alone = combine(_being, persons, of_persons, _DEGREES, tense, polarity)
    return choose_one([choose_one(of_nouns), alone], (3, 1))


def _plain_nouns(determiners: Production) -> Callable[[Noun], Production]:
    return lambda noun: combine(partial(noun_phrase, noun), determiners, each(None))


_COPULAR = choose_one(
    [
        _copular(lexicon.NOUNS, _plain_nouns(ANY), False),
        _copular(lexicon.NOUNS, _plain_nouns(DEFINITE), True),
    ],
    (4, 1),
)
_ANIMALS = combine(
    _clause,
    phrases(lexicon.ANIMALS, ANY),
    choose_one([STAYING, MOVING], (2, 1)),
    _times(("can", "will"), False),
)
# A clause within a longer sentence.
CLAUSE = choose_one(
    [_clauses(False), _clauses(True), _negated_clauses(False), _COPULAR, _ANIMALS], (8, 3, 2, 3, 1)
)


# Relative clauses.
def _related(noun: Noun, determiners: Production) -> Production:
    """A noun with a relative clause.

    In these, persons are never the object of a transitive verb: 'die Frau, die die Tante sieht' is
    ambiguous.
    """
    head = combine(partial(noun_phrase, noun), determiners, each(None))
    tense = each("present", "past", "will", "can")
    subjects = choose_one([SUBJECTS, DEFINITE_SUBJECTS])
    if noun.kind == "p":
        return choose_one(
            [
                combine(subject_relative, head, PREDICATES, tense),
                combine(object_relative, head, subjects, each(*lexicon.DATIVE), tense),
            ],
            (3, 1),
        )
    verbs = [verb for verb in lexicon.TRANSITIVE if noun in accepted(verb)]
    return combine(object_relative, head, subjects, each(*verbs), tense)


_RELATED_PERSONS = choose_one([_related(noun, HEAD) for noun in lexicon.PERSONS])
_RELATED_OBJECTS = choose_one(
    [
        combine(partial(transitive, verb), _related(noun, HEAD))
        for verb in lexicon.TRANSITIVE
        for noun in accepted(verb)
        if noun.kind in "pt"
    ]
)


# Sentences.
class Sentence(NamedTuple):
    """A sentence and its translation; `novel` is true if it contains a held-out pair of words."""

    english: str
    german: str
    novel: bool


def _words(order: str, clause: Clause) -> Sentence:
    return Sentence(english_clause(clause, order), german_clause(clause, order), clause.novel)


def _asked(word: tuple[str, str], clause: Clause) -> Sentence:
    english, german, novel = _words("question", clause)
    return Sentence(f"{word[0]} {english}".strip(), f"{word[1]} {german}".strip(), novel)


def _subordinate_last(main: Sentence, conjunction: tuple[str, str], clause: Clause) -> Sentence:
    return Sentence(
        f"{main.english} {conjunction[0]} {english_clause(clause)}",
        f"{main.german} , {conjunction[1]} {german_clause(clause, 'subordinate')}",
        main.novel or clause.novel,
    )


def _subordinate_first(conjunction: tuple[str, str], clause: Clause, main: Clause) -> Sentence:
    """The subordinate clause comes first, so that the German verb follows it."""
    return Sentence(
        f"{conjunction[0]} {english_clause(clause)} , {english_clause(main)}",
        f"{conjunction[1]} {german_clause(clause, 'subordinate')} , "
        + german_clause(main, "question"),
        main.novel or clause.novel,
    )


def _coordinated(first: Sentence, conjunction: tuple[str, str], second: Sentence) -> Sentence:
    return Sentence(
        f"{first.english} {conjunction[0]} {second.english}",
        f"{first.german} {conjunction[1]} {second.german}",
        first.novel or second.novel,
    )


def _finished(mark: str, sentence: Sentence) -> Sentence:
    return Sentence(
        punctuate(sentence.english, mark), punctuate(sentence.german, mark), sentence.novel
    )


_SUBORDINATING = each(
    ("because", "weil"), ("although", "obwohl"), ("if", "wenn"), ("while", "während")
)
_COORDINATING = each(("and", "und"), (", but", ", aber"))
# A subordinate clause before 'und' ends with a comma.
_COORDINATING_AFTER_SUBORDINATE = each((", and", ", und"), (", but", ", aber"))
_PLAIN = combine(_words, each("plain"), CLAUSE)
_THAT = combine(
    _clause,
    SUBJECTS,
    each(*(Predicate(verb) for verb in lexicon.REPORTING)),
    each(("present", ("", ""))),
)
_WHETHER = combine(
    _clause,
    DEFINITE_SUBJECTS,
    each(Predicate(lexicon.REPORTING[0])),
    each(("present", ("", ""))),
    each(True),
)
_REPORTED = choose_one(
    [
        combine(
            _subordinate_last, combine(_words, each("plain"), matrix), each(conjunction), CLAUSE
        )
        for matrix, conjunction in ((_THAT, ("that", "dass")), (_WHETHER, ("whether", "ob")))
    ],
    (3, 1),
)
_FRONTED = choose_one([_clauses(True), _negated_clauses(True)], (4, 1))
_RELATIVE_CLAUSES = choose_one(
    [
        combine(_clause, _RELATED_PERSONS, choose_one([PREDICATES, BARE]), _times(MODALS, False)),
        combine(_clause, SUBJECTS, _RELATED_OBJECTS, _times(MODALS, False)),
        _copular(lexicon.PERSONS + lexicon.THINGS, lambda noun: _related(noun, HEAD), False),
    ],
    (2, 2, 1),
)
_DEPENDENT_LAST = combine(_subordinate_last, _PLAIN, _SUBORDINATING, CLAUSE)
_DEPENDENT_FIRST = combine(_subordinate_first, _SUBORDINATING, CLAUSE, CLAUSE)
_STATEMENTS = choose_one(
    [
        _PLAIN,
        combine(_words, each("fronted"), _FRONTED),
        combine(_words, each("plain"), _RELATIVE_CLAUSES),
        _REPORTED,
        _DEPENDENT_LAST,
        _DEPENDENT_FIRST,
        combine(_coordinated, _PLAIN, _COORDINATING, _PLAIN),
    ],
    (6, 4, 3, 3, 2, 1, 1),
)
_QUESTIONS = combine(
    _asked,
    each(("", ""), ("", ""), ("why", "warum"), ("when", "wann")),
    choose_one([_clauses(False), _COPULAR], (4, 1)),
)

SENTENCE = choose_one(
    [combine(partial(_finished, "."), _STATEMENTS), combine(partial(_finished, "?"), _QUESTIONS)],
    (6, 1),
)
"""The grammar of training, validation, test and test_composition."""

LONG_SENTENCE = combine(
    partial(_finished, "."),
    choose_one(
        [
            combine(_subordinate_last, _DEPENDENT_FIRST, _SUBORDINATING, CLAUSE),
            combine(_subordinate_last, _REPORTED, _SUBORDINATING, CLAUSE),
            combine(_coordinated, _DEPENDENT_LAST, _COORDINATING_AFTER_SUBORDINATE, _PLAIN),
            combine(_coordinated, _REPORTED, _COORDINATING_AFTER_SUBORDINATE, _REPORTED),
        ]
    ),
)
"""Sentences of three or four clauses, each a clause of `SENTENCE`."""
