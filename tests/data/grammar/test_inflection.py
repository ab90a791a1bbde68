"""Tests of the morphology: noun phrases, numbers and verbs against forms written by hand."""

import pytest

from seqjax.data.grammar import inflection, lexicon
from seqjax.data.grammar.inflection import english_verb, german_verb

_NOUNS = {noun.english: noun for noun in lexicon.NOUNS}
_ADJECTIVES = {adjective.english: adjective for adjective in lexicon.ADJECTIVES}
_VERBS = {
    verb.english: verb
    for verbs in (
        lexicon.TRANSITIVE,
        lexicon.DATIVE,
        lexicon.DITRANSITIVE,
        lexicon.INTRANSITIVE,
        lexicon.LOCATED,
        lexicon.MOTION,
        lexicon.REPORTING,
    )
    for verb in verbs
}


@pytest.mark.parametrize(
    ("phrase", "forms"),
    [
        ("a old man", "ein alter Mann, einen alten Mann, einem alten Mann"),
        ("the old man", "der alte Mann, den alten Mann, dem alten Mann"),
        ("this poor woman", "diese arme Frau, diese arme Frau, dieser armen Frau"),
        ("every small child", "jedes kleine Kind, jedes kleine Kind, jedem kleinen Kind"),
        ("my young boy", "mein junger Junge, meinen jungen Jungen, meinem jungen Jungen"),
        ("our neighbor", "unser Nachbar, unseren Nachbarn, unserem Nachbarn"),
        ("his tired cat", "seine müde Katze, seine müde Katze, seiner müden Katze"),
        ("the expensive book", "das teure Buch, das teure Buch, dem teuren Buch"),
        ("a dark museum", "ein dunkles Museum, ein dunkles Museum, einem dunklen Museum"),
        ("not_a red apple", "kein roter Apfel, keinen roten Apfel, keinem roten Apfel"),
    ],
)
def test_german_singular(phrase, forms):
    assert _declined(phrase, plural=False) == forms


@pytest.mark.parametrize(
    ("phrase", "forms"),
    [
        ("a old man", "alte Männer, alte Männer, alten Männern"),
        ("the old man", "die alten Männer, die alten Männer, den alten Männern"),
        ("many friendly teacher", "viele freundliche Lehrer, viele freundliche Lehrer, "
         "vielen freundlichen Lehrern"),
        ("our new car", "unsere neuen Autos, unsere neuen Autos, unseren neuen Autos"),
        ("not_a red apple", "keine roten Äpfel, keine roten Äpfel, keinen roten Äpfeln"),
        ("42 small queen", "zweiundvierzig kleine Königinnen, zweiundvierzig kleine Königinnen, "
         "zweiundvierzig kleinen Königinnen"),
    ],
)  # fmt: skip
def test_german_plural(phrase, forms):
    assert _declined(phrase, plural=True) == forms


def _declined(phrase: str, plural: bool) -> str:
    determiner, *adjective, noun = phrase.split()
    return ", ".join(
        inflection.german_noun_phrase(
            int(determiner) if determiner.isdigit() else determiner.replace("_", " "),
            _ADJECTIVES[adjective[0]] if adjective else None,
            _NOUNS[noun],
            plural,
            case,
        )
        for case in inflection.CASES
    )


@pytest.mark.parametrize(
    ("determiner", "adjective", "noun", "plural", "expected"),
    [
        ("a", "old", "man", False, "an old man"),
        ("a", None, "apple", False, "an apple"),
        ("a", "red", "apple", False, "a red apple"),
        ("a", "red", "apple", True, "red apples"),
        ("not a", None, "aunt", False, "an aunt"),
        ("this", None, "knife", True, "these knives"),
        (21, "small", "child", True, "twenty-one small children"),
    ],
)
def test_english_noun_phrase(determiner, adjective, noun, plural, expected):
    adjective = _ADJECTIVES.get(adjective)
    phrase = inflection.english_noun_phrase(determiner, adjective, _NOUNS[noun], plural)
    assert phrase == expected


@pytest.mark.parametrize(
    ("number", "english", "german"),
    [
        (0, "zero", "null"),
        (1, "one", "eins"),
        (2, "two", "zwei"),
        (12, "twelve", "zwölf"),
        (16, "sixteen", "sechzehn"),
        (17, "seventeen", "siebzehn"),
        (20, "twenty", "zwanzig"),
        (21, "twenty-one", "einundzwanzig"),
        (30, "thirty", "dreißig"),
        (33, "thirty-three", "dreiunddreißig"),
        (42, "forty-two", "zweiundvierzig"),
        (60, "sixty", "sechzig"),
        (66, "sixty-six", "sechsundsechzig"),
        (70, "seventy", "siebzig"),
        (77, "seventy-seven", "siebenundsiebzig"),
        (99, "ninety-nine", "neunundneunzig"),
    ],
)
def test_numbers(number, english, german):
    assert inflection.english_number(number) == english
    assert inflection.german_number(number) == german


def test_numbers_are_all_different():
    assert len({inflection.german_number(number) for number in range(100)}) == 100
    assert len({inflection.english_number(number) for number in range(100)}) == 100


@pytest.mark.parametrize(
    ("noun", "plural", "case", "expected"),
    [
        ("man", False, "nominative", "der"),
        ("man", False, "accusative", "den"),
        ("woman", False, "dative", "der"),
        ("girl", False, "nominative", "das"),
        ("woman", True, "accusative", "die"),
        ("man", True, "dative", "denen"),
    ],
)
def test_relative_pronoun(noun, plural, case, expected):
    assert inflection.relative_pronoun(_NOUNS[noun], plural, case) == expected


@pytest.mark.parametrize(
    ("verb", "tense", "agreement", "expected"),
    [
        ("call", "present", "I", ("rufe", "an", "")),
        ("call", "present", "he", ("ruft", "an", "")),
        ("call", "past", "they", ("haben", "", "angerufen")),
        ("call", "want to", "he", ("will", "", "anrufen")),
        ("invite", "present", "he", ("lädt", "ein", "")),
        ("invite", "present", "I", ("lade", "ein", "")),
        ("know", "present", "I", ("weiß", "", "")),
        ("know", "present", "they", ("wissen", "", "")),
        ("forget", "present", "I", ("vergesse", "", "")),
        ("go", "past", "I", ("bin", "", "gegangen")),
        ("follow", "past", "he", ("ist", "", "gefolgt")),
        ("buy", "will", "I", ("werde", "", "kaufen")),
        ("buy", "should", "they", ("sollten", "", "kaufen")),
    ],
)
def test_german_verb(verb, tense, agreement, expected):
    assert german_verb(_VERBS[verb], tense, agreement) == expected


@pytest.mark.parametrize(
    ("tense", "agreement", "auxiliary", "expected"),
    [
        ("present", "he", False, ("", "goes")),
        ("present", "they", False, ("", "go")),
        ("present", "he", True, ("does", "go")),
        ("past", "I", False, ("", "went")),
        ("past", "I", True, ("did", "go")),
        ("can", "he", False, ("can", "go")),
        ("want to", "he", False, ("", "wants to go")),
        ("want to", "he", True, ("does", "want to go")),
        ("want to", "I", False, ("", "want to go")),
    ],
)
def test_english_verb(tense, agreement, auxiliary, expected):
    assert english_verb(_VERBS["go"], tense, agreement, auxiliary) == expected


def test_each_form_of_be():
    english = [inflection.english_be("present", who) for who in inflection.AGREEMENTS]
    german = [inflection.german_be("past", who) for who in inflection.AGREEMENTS]
    assert english == ["am", "is", "are"]
    assert german == ["war", "war", "waren"]
