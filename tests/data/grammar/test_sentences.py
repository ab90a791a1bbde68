"""Tests of properties that every drawn sentence must have."""

import random
import re

import pytest

from seqjax.data.grammar import lexicon
from seqjax.data.grammar.productions import Draw
from seqjax.data.grammar.sentences import CLAUSE, LONG_SENTENCE, SENTENCE


@pytest.fixture(scope="module")
def sentences():
    numbers = random.Random(1)
    rules = [SENTENCE] * 4000 + [LONG_SENTENCE] * 500
    return [rule.draw(Draw(numbers.getrandbits(512))) for rule in rules]


def test_typography(sentences):
    for sentence in sentences:
        assert sentence.english[-1] == sentence.german[-1]
        for text in sentence[:2]:
            assert text[0].isupper()
            assert re.fullmatch(r"[A-Za-zÄÖÜäöüß-]+(,? [A-Za-zÄÖÜäöüß-]+)*[.?]", text), text


def test_indefinite_article_suits_the_next_word(sentences):
    text = " ".join(sentence.english for sentence in sentences)
    assert not re.findall(r"\b[Aa] [aeiou]\w*", text)
    assert not re.findall(r"\b[Aa]n [^aeiou]\w*", text)


def test_german_articles_agree_with_their_noun(sentences):
    singular = {"m": {"der", "den", "dem"}, "f": {"die", "der"}, "n": {"das", "dem"}}
    allowed = {}
    for noun in lexicon.NOUNS:
        for form in (noun.german, noun.oblique):
            allowed.setdefault(form, set()).update(singular[noun.gender])
        for form in (noun.german_plural, noun.german_plural + "n"):
            allowed.setdefault(form, set()).update({"die", "den"})
    text = " ".join(sentence.german for sentence in sentences)
    # After a comma it may be a relative pronoun, which agrees with the noun before.
    found = re.findall(r"(?<!, )\b([Dd](?:er|ie|as|en|em)) (\w+)", text)
    checked = [(article.lower(), noun) for article, noun in found if noun in allowed]
    assert len(checked) > 1000
    assert not [pair for pair in checked if pair[0] not in allowed[pair[1]]]


def test_conjunctions_follow_a_comma_in_german(sentences):
    for sentence in sentences:
        for conjunction in ("weil", "dass", "ob", "obwohl", "wenn", "während"):
            assert f" {conjunction} " not in sentence.german.replace(f", {conjunction} ", "")


def test_the_finite_verb_is_last_after_dass(sentences):
    endings = [sentence.german[:-1].split(", dass ")[1].split(",")[0].split()[-1]
               for sentence in sentences if ", dass " in sentence.german]  # fmt: skip
    finite = {"bin", "ist", "sind", "war", "waren", "habe", "hat", "haben"}
    finite |= {"kann", "können", "muss", "müssen", "sollte", "sollten", "will", "wollen"}
    finite |= {"werde", "wird", "werden"}
    tables = (lexicon.TRANSITIVE, lexicon.DATIVE, lexicon.PREPOSITIONAL, lexicon.DITRANSITIVE)
    tables += (lexicon.INTRANSITIVE, lexicon.LOCATED, lexicon.MOTION)
    for verb in (verb for table in tables for verb in table):
        finite |= {
            verb.prefix + form for form in (verb.third, verb.infinitive, verb.infinitive[:-1])
        }
    assert len(endings) > 300
    assert set(endings) <= finite


def test_derivations_are_counted():
    assert SENTENCE.count > CLAUSE.count**2 > 10**18
