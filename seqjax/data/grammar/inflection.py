"""English and German morphology of the synthetic corpus: numbers, noun phrases and verb forms."""

from typing import NamedTuple

from seqjax.data.grammar.lexicon import Adjective, Noun, Verb

CASES = ("nominative", "accusative", "dative")

# One ending for each of masculine, feminine, neuter, plural.
_STRONG = {
    "nominative": ("er", "e", "es", "e"),
    "accusative": ("en", "e", "es", "e"),
    "dative": ("em", "er", "em", "en"),
}
_WEAK = {
    "nominative": ("e", "e", "e", "en"),
    "accusative": ("en", "e", "e", "en"),
    "dative": ("en", "en", "en", "en"),
}
_MIXED = {
    "nominative": ("er", "e", "es", "en"),
    "accusative": ("en", "e", "es", "en"),
    "dative": ("en", "en", "en", "en"),
}
_EIN = {
    "nominative": ("", "e", "", "e"),
    "accusative": ("en", "e", "", "e"),
    "dative": ("em", "er", "em", "en"),
}
_ARTICLES = {
    "nominative": ("der", "die", "das", "die"),
    "accusative": ("den", "die", "das", "die"),
    "dative": ("dem", "der", "dem", "den"),
}

# English determiner: German stem, its endings, the endings of an adjective after it. 'not a' is the
# article of a negated clause: English negates the verb, German has 'kein'.
_DETERMINERS = {
    "the": ("", _ARTICLES, _WEAK),
    "this": ("dies", _STRONG, _WEAK),
    "every": ("jed", _STRONG, _WEAK),
    "many": ("viel", _STRONG, _STRONG),
    "a": ("ein", _EIN, _MIXED),
    "not a": ("kein", _EIN, _MIXED),
    "my": ("mein", _EIN, _MIXED),
    "his": ("sein", _EIN, _MIXED),
    "our": ("unser", _EIN, _MIXED),
}

_ENGLISH_NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_ENGLISH_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_GERMAN_NUMBERS = (
    "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn "
    "fünfzehn sechzehn siebzehn achtzehn neunzehn"
).split()
_GERMAN_TENS = "zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig".split()


def english_number(number: int) -> str:
    """Spells a number from 0 to 99: `'forty-two'`."""
    if number < 20:
        return _ENGLISH_NUMBERS[number]
    tens, ones = divmod(number, 10)
    return _ENGLISH_TENS[tens - 2] + (f"-{_ENGLISH_NUMBERS[ones]}" if ones else "")


def german_number(number: int) -> str:
    """Spells a number from 0 to 99, the ones before the tens: `'zweiundvierzig'`."""
    if number < 20:
        return _GERMAN_NUMBERS[number]
    tens, ones = divmod(number, 10)
    before = "ein" if ones == 1 else _GERMAN_NUMBERS[ones]
    return (f"{before}und" if ones else "") + _GERMAN_TENS[tens - 2]


def english_noun_phrase(
    determiner: str | int, adjective: Adjective | None, noun: Noun, plural: bool
) -> str:
    """Returns `'an old man'`, `'these old men'`, `'forty-two old men'`.

    `determiner` is an English one ('the', 'this', 'every', 'many', 'a', 'not a', 'my', 'his',
    'our') or a number from 2 to 99. The plural of 'a' has no determiner.
    """
    words = [adjective.english] if adjective else []
    words.append(noun.english_plural if plural else noun.english)
    if isinstance(determiner, int):
        words.insert(0, english_number(determiner))
    elif determiner in ("a", "not a"):
        if not plural:
            words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    elif determiner == "this" and plural:
        words.insert(0, "these")
    else:
        words.insert(0, determiner)
    return " ".join(words)


def german_noun_phrase(
    determiner: str | int, adjective: Adjective | None, noun: Noun, plural: bool, case: str
) -> str:
    """Returns the noun phrase in a case: `'den alten Mann'`, `'zweiundvierzig alten Männern'`.

    Takes the same determiners as `english_noun_phrase`.
    """
    column = 3 if plural else "mfn".index(noun.gender)
    words = []
    if isinstance(determiner, int):
        words.append(german_number(determiner))
        adjective_endings = _STRONG
    elif determiner == "a" and plural:
        adjective_endings = _STRONG
    else:
        stem, endings, adjective_endings = _DETERMINERS[determiner]
        words.append(stem + endings[case][column])
    if adjective:
        words.append(adjective.stem + adjective_endings[case][column])
    words.append(_decline(noun, plural, case))
    return " ".join(words)


def _decline(noun: Noun, plural: bool, case: str) -> str:
    if not plural:
        return noun.german if case == "nominative" else noun.oblique
    if case == "dative" and noun.german_plural[-1] not in "ns":
        return noun.german_plural + "n"
    return noun.german_plural


def relative_pronoun(noun: Noun, plural: bool, case: str) -> str:
    """Returns the German relative pronoun for a head noun: `'der'`, `'denen'`."""
    if plural and case == "dative":
        return "denen"
    return _ARTICLES[case][3 if plural else "mfn".index(noun.gender)]


# Persons and numbers with different forms: I; he, she, a singular noun; we, they, a plural noun.
AGREEMENTS = ("I", "he", "they")

_MODALS = {
    "can": ("kann", "kann", "können"),
    "must": ("muss", "muss", "müssen"),
    "should": ("sollte", "sollte", "sollten"),
    "will": ("werde", "wird", "werden"),
    "want to": ("will", "will", "wollen"),
}
MODALS = tuple(_MODALS)
TENSES = ("present", "past", *MODALS)
_HABEN = ("habe", "hat", "haben")
_SEIN = ("bin", "ist", "sind")
_WAR = ("war", "war", "waren")


def english_verb(verb: Verb, tense: str, agreement: str, auxiliary: bool) -> tuple[str, str]:
    """Returns the auxiliary (or `''`) and the main verb: `('', 'buys')`, `('does', 'buy')`.

    Questions and negations need an auxiliary: `auxiliary` adds 'do' if there is no other.
    """
    third = agreement == "he"
    if tense == "past":
        return ("did", verb.english) if auxiliary else ("", verb.english_past)
    if tense in ("present", "want to"):
        infinitive = f"want to {verb.english}" if tense == "want to" else verb.english
        if auxiliary:
            return "does" if third else "do", infinitive
        if not third:
            return "", infinitive
        return "", f"wants to {verb.english}" if tense == "want to" else verb.english_third
    return tense, verb.english


class GermanVerb(NamedTuple):
    """The parts of a German verb: the finite form moves, prefix and non-finite form stay."""

    finite: str
    prefix: str
    nonfinite: str


def german_verb(verb: Verb, tense: str, agreement: str) -> GermanVerb:
    """Returns `('ruft', 'an', '')`, `('hat', '', 'angerufen')`, `('will', '', 'anrufen')`.

    The English past becomes the perfect, as in speech.
    """
    column = AGREEMENTS.index(agreement)
    if tense == "past":
        return GermanVerb(
            (_SEIN if verb.auxiliary == "ist" else _HABEN)[column], "", verb.participle
        )
    if tense != "present":
        return GermanVerb(_MODALS[tense][column], "", verb.prefix + verb.infinitive)
    # Verbs like 'wissen' have no -t in the third person and no -e in the first.
    first = verb.infinitive[:-1] if verb.third.endswith("t") else verb.third
    return GermanVerb((first, verb.third, verb.infinitive)[column], verb.prefix, "")


def english_be(tense: str, agreement: str) -> str:
    """Returns the form of 'be' for 'present' or 'past'."""
    forms = ("am", "is", "are") if tense == "present" else ("was", "was", "were")
    return forms[AGREEMENTS.index(agreement)]


def german_be(tense: str, agreement: str) -> str:
    """Returns the form of 'sein'; the past is the preterite, as in spoken German."""
    return (_SEIN if tense == "present" else _WAR)[AGREEMENTS.index(agreement)]
