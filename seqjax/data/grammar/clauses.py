"""Word order of English and German clauses in the synthetic corpus.

German splits its verb: in a main clause the finite form is second and prefix, infinitive or
participle close the clause; in a subordinate clause the whole verb closes it.
"""

import functools
import zlib
from typing import NamedTuple

from seqjax.data.grammar import inflection
from seqjax.data.grammar.lexicon import Adjective, Noun, Verb


class Phrase(NamedTuple):
    """A noun phrase, a name or a pronoun in both languages.

    `relative` is its relative clause (English, German) without commas. `novel` is true if it
    contains a held-out pair of adjective and noun.
    """

    english: str
    nominative: str
    accusative: str
    dative: str
    agreement: str = "he"
    noun: Noun | None = None
    plural: bool = False
    relative: tuple[str, str] = ("", "")
    novel: bool = False


class Predicate(NamedTuple):
    """A predicate; `verb` is None for 'be'.

    German has three places after the finite verb: `early` (pronouns, recipients), `object` and
    `late` (prepositional phrases, adjectives). A temporal adverb precedes the object, 'nicht'
    follows it. `kein` is true if the object carries the negation. `tail` is the object's relative
    clause (English, German), which moves to the end.
    """

    verb: Verb | None
    english: str = ""
    early: str = ""
    object: str = ""
    late: str = ""
    kein: bool = False
    tail: tuple[str, str] = ("", "")
    adjective: Adjective | None = None
    novel: bool = False


class Clause(NamedTuple):
    """A subject with its predicate, in one of `inflection.TENSES`; adverb: (English, German)."""

    subject: Phrase
    predicate: Predicate
    tense: str
    adverb: tuple[str, str] = ("", "")
    negated: bool = False

    @property
    def novel(self) -> bool:
        """Whether any pair of words in it is held out."""
        subject, predicate = self.subject, self.predicate
        return (
            subject.novel
            or predicate.novel
            or bool(predicate.adjective and held_out(predicate.adjective, subject.noun))
        )


@functools.cache
def held_out(word: Adjective | Verb, noun: Noun | None) -> bool:
    """Returns whether a pair of adjective and noun, or verb and object, is held out.

    One pair in twelve is; these occur only in the split `test_composition`.
    """
    return noun is not None and zlib.crc32(f"{word.english} {noun.english}".encode()) % 12 == 0


@functools.lru_cache(maxsize=1 << 14)
def noun_phrase(noun: Noun, option: tuple[str | int, bool], adjective: Adjective | None) -> Phrase:
    """Returns the phrase for a noun, its (determiner, plural) and an adjective or None."""
    determiner, plural = option
    german = [
        inflection.german_noun_phrase(determiner, adjective, noun, plural, case)
        for case in inflection.CASES
    ]
    return Phrase(
        inflection.english_noun_phrase(determiner, adjective, noun, plural),
        *german,
        agreement="they" if plural else "he",
        noun=noun,
        plural=plural,
        novel=adjective is not None and held_out(adjective, noun),
    )


def subject_relative(head: Phrase, predicate: Predicate, tense: str) -> Phrase:
    """Returns the head with 'who ...' or 'that ...', whose subject is the head."""
    pronoun = inflection.relative_pronoun(head.noun, head.plural, "nominative")
    english = "who" if head.noun.kind == "p" else "that"
    clause = Clause(Phrase(english, pronoun, "", "", head.agreement), predicate, tense)
    return head._replace(
        relative=(english_clause(clause), german_clause(clause, "subordinate")),
        novel=head.novel or clause.novel,
    )


def object_relative(head: Phrase, subject: Phrase, verb: Verb, tense: str) -> Phrase:
    """Returns the head with 'whom ...' or 'that ...', whose object is the head."""
    pronoun = inflection.relative_pronoun(head.noun, head.plural, verb.case)
    english = "whom" if head.noun.kind == "p" else "that"
    clause = Clause(subject, Predicate(verb), tense)
    return head._replace(
        relative=(
            f"{english} {english_clause(clause)}",
            f"{pronoun} {german_clause(clause, 'subordinate')}",
        ),
        novel=head.novel or clause.novel or held_out(verb, head.noun),
    )


def _join(*words: str) -> str:
    return " ".join(filter(None, words))


def english_clause(clause: Clause, order: str = "plain") -> str:
    """Returns the words of a clause; `order` is 'plain', 'fronted' (adverb first) or 'question'."""
    subject, predicate = clause.subject, clause.predicate
    if predicate.verb is None:
        auxiliary, main = inflection.english_be(clause.tense, subject.agreement), ""
    else:
        auxiliary, main = inflection.english_verb(
            predicate.verb, clause.tense, subject.agreement, clause.negated or order == "question"
        )
    negation = "not" if clause.negated else ""
    if negation and auxiliary == "can":
        auxiliary, negation = "cannot", ""
    who = _join(subject.english, subject.relative[0])
    before = (auxiliary, who) if order == "question" else (who, auxiliary)
    words = [*before, negation, main, predicate.english]
    words.insert(0 if order == "fronted" else len(words), clause.adverb[0])
    return _join(*words, predicate.tail[0])


def german_clause(clause: Clause, order: str = "plain") -> str:
    """Returns the words of a clause, with a comma at each border of a relative clause.

    `order` is 'plain', 'fronted' (adverb first), 'question' (finite verb first) or 'subordinate'
    (finite verb last).
    """
    subject, predicate = clause.subject, clause.predicate
    if predicate.verb is None:
        finite = inflection.german_be(clause.tense, subject.agreement)
        verb = inflection.GermanVerb(finite, "", "")
    else:
        verb = inflection.german_verb(predicate.verb, clause.tense, subject.agreement)
    who = subject.nominative
    if subject.relative[1]:
        who += f" , {subject.relative[1]} ,"
    middle = _join(
        predicate.early,
        "" if order == "fronted" else clause.adverb[1],
        predicate.object,
        "nicht" if clause.negated and not predicate.kein else "",
        predicate.late,
    )
    tail = f", {predicate.tail[1]} ," if predicate.tail[1] else ""
    if order == "subordinate":
        return _join(who, middle, verb.nonfinite, verb.prefix + verb.finite, tail)
    start = {
        "plain": (who, verb.finite),
        "fronted": (clause.adverb[1], verb.finite, who),
        "question": (verb.finite, who),
    }[order]
    return _join(*start, middle, verb.prefix, verb.nonfinite, tail)


def punctuate(words: str, mark: str) -> str:
    """Returns a sentence: first letter upper-case, commas after their words, mark at the end."""
    text = words.rstrip(" ,").replace(" ,", ",").replace(",,", ",")
    return text[0].upper() + text[1:] + mark
