"""Tests that the lexicon is a one-to-one mapping, on which the uniqueness of references rests."""

from seqjax.data.grammar import lexicon


def test_nouns_are_one_to_one():
    for english, german in (("english", "german"), ("english_plural", "german_plural")):
        assert len({getattr(noun, english) for noun in lexicon.NOUNS}) == len(lexicon.NOUNS)
        assert len({getattr(noun, german) for noun in lexicon.NOUNS}) == len(lexicon.NOUNS)


def test_adjectives_are_one_to_one():
    size = len(lexicon.ADJECTIVES)
    assert len({word.english for word in lexicon.ADJECTIVES}) == size
    assert len({word.stem for word in lexicon.ADJECTIVES}) == size


def test_english_past_differs_from_the_present():
    for verbs in (lexicon.TRANSITIVE, lexicon.DATIVE, lexicon.PREPOSITIONAL, lexicon.DITRANSITIVE):
        for verb in verbs:
            assert len({verb.english, verb.english_third, verb.english_past}) == 3


def test_german_nouns_are_capitalized_and_verbs_are_not():
    assert all(noun.german[0].isupper() and noun.german_plural[0].isupper()
               for noun in lexicon.NOUNS)  # fmt: skip
    assert all(verb.infinitive.islower() for verb in lexicon.TRANSITIVE + lexicon.LOCATED)
