"""Rules for the parts of a clause: noun phrases and predicates."""

from collections.abc import Sequence
from functools import partial

from seqjax.data.grammar import lexicon
from seqjax.data.grammar.clauses import Phrase, Predicate, held_out, noun_phrase
from seqjax.data.grammar.lexicon import Noun, Verb
from seqjax.data.grammar.productions import Production, choose_one, combine, each

# Noun phrases: (determiner, plural) first.
_NUMBERS = each(*((number, True) for number in range(2, 100)))
DEFINITE = choose_one(
    [
        each(("the", False)),
        each(("the", True)),
        each(
            *((word, plural) for word in ("this", "my", "his", "our") for plural in (False, True))
        ),
    ],
    (3, 1, 2),
)
_INDEFINITE = each(("a", False), ("a", True))
_QUANTIFIED = choose_one([each(("every", False), ("many", True)), _NUMBERS])
ANY = choose_one([DEFINITE, _INDEFINITE, _QUANTIFIED], (5, 3, 2))
_NOT_ANY = choose_one([DEFINITE, each(("not a", False), ("not a", True))])
HEAD = each(("the", False), ("the", True), ("a", False))
_PLACE = each(("the", False), ("the", False), ("a", False), ("this", False), ("our", False))


def adjectives(noun: Noun) -> tuple[lexicon.Adjective, ...]:
    return tuple(word for word in lexicon.ADJECTIVES if noun.kind in word.kinds)


def phrases(nouns: Sequence[Noun], determiners: Production) -> Production:
    return choose_one(
        [
            combine(
                partial(noun_phrase, noun),
                determiners,
                choose_one([each(None), each(*adjectives(noun))]),
            )
            for noun in nouns
        ]
    )


NAMES = each(
    *(Phrase(name, name, name, name) for name in ("Anna", "Paul", "Maria", "Peter", "Lukas"))
)
SUBJECT_PRONOUNS = each(
    Phrase("I", "ich", "", "", "I"),
    Phrase("he", "er", "", ""),
    Phrase("she", "sie", "", ""),
    Phrase("we", "wir", "", "", "they"),
    Phrase("they", "sie", "", "", "they"),
)
_HIM = Phrase("him", "", "ihn", "ihm")
_DATIVE_PRONOUNS = each(_HIM, Phrase("her", "", "", "ihr"), Phrase("them", "", "", "ihnen"))
_PERSONS = phrases(lexicon.PERSONS, ANY)
_SOMEONE = phrases(lexicon.PERSONS, DEFINITE)
SUBJECTS = choose_one([_PERSONS, SUBJECT_PRONOUNS, NAMES], (6, 3, 1))
DEFINITE_SUBJECTS = choose_one([_SOMEONE, SUBJECT_PRONOUNS, NAMES], (6, 3, 1))


# Predicates.
def accepted(verb: Verb) -> list[Noun]:
    return [noun for noun in lexicon.NOUNS if set(noun.classes) & set(verb.objects)]


def transitive(verb: Verb, thing: Phrase) -> Predicate:
    return Predicate(
        verb,
        thing.english,
        object=thing.accusative if thing.noun else "",
        early="" if thing.noun else thing.accusative,
        kein=thing.accusative.startswith("kein"),
        tail=thing.relative,
        novel=thing.novel or held_out(verb, thing.noun),
    )


def _dative(verb: Verb, person: Phrase) -> Predicate:
    novel = person.novel or held_out(verb, person.noun)
    if person.noun:
        return Predicate(verb, person.english, object=person.dative, novel=novel)
    return Predicate(verb, person.english, early=person.dative, novel=novel)


def _prepositional(verb: Verb, thing: Phrase) -> Predicate:
    return Predicate(
        verb,
        f"{verb.english_preposition} {thing.english}",
        late=f"{verb.preposition} {getattr(thing, verb.case)}",
        novel=thing.novel or held_out(verb, thing.noun),
    )


def _ditransitive(verb: Verb, person: Phrase, thing: Phrase) -> Predicate:
    predicate = transitive(verb, thing)
    return predicate._replace(
        english=f"{person.english} {thing.english}",
        early=person.dative,
        novel=predicate.novel or person.novel,
    )


def _place(verb: Verb, english: str, german: str, case: str, place: Phrase) -> Predicate:
    where = f"{german} {getattr(place, case)}"
    if where.startswith(("in dem ", "in das ")):
        where = ("im " if where[5] == "m" else "ins ") + where[7:]
    return Predicate(verb, f"{english} {place.english}", late=where, novel=place.novel)


def _places(verbs: Sequence[Verb], prepositions: Sequence[tuple[str, str, str]]) -> Production:
    places = phrases(lexicon.PLACES, _PLACE)
    return choose_one(
        [
            combine(partial(_place, verb, *preposition), places)
            for verb in verbs
            for preposition in prepositions
        ]
    )


STAYING = _places(
    lexicon.LOCATED,
    [
        ("in", "in", "dative"),
        ("behind", "hinter", "dative"),
        ("in front of", "vor", "dative"),
        ("next to", "neben", "dative"),
    ],
)
MOVING = _places(lexicon.MOTION, [("into", "in", "accusative")])
BARE = each(*(Predicate(verb) for verb in lexicon.INTRANSITIVE + lexicon.LOCATED))


def _predicates(determiners: Production) -> Production:
    """Predicates of persons; the determiners belong to accusative objects."""
    of_object = choose_one(
        [
            combine(partial(transitive, verb), phrases(accepted(verb), determiners))
            for verb in lexicon.TRANSITIVE
        ]
    )
    of_person = [
        combine(partial(transitive, verb), choose_one([each(_HIM), NAMES]))
        for verb in lexicon.TRANSITIVE
        if "p" in verb.objects
    ]
    dative = combine(
        _dative, each(*lexicon.DATIVE), choose_one([_SOMEONE, _DATIVE_PRONOUNS, NAMES], (4, 2, 1))
    )
    prepositional = [
        combine(partial(_prepositional, verb), phrases(accepted(verb), DEFINITE))
        for verb in lexicon.PREPOSITIONAL
    ]
    ditransitive = combine(
        _ditransitive,
        each(*lexicon.DITRANSITIVE),
        choose_one([_SOMEONE, _DATIVE_PRONOUNS, NAMES], (3, 3, 1)),
        phrases(lexicon.THINGS, determiners),
    )
    return choose_one(
        [of_object, choose_one(of_person), dative, choose_one(prepositional), ditransitive, STAYING]
        + [MOVING, BARE],
        (10, 2, 4, 4, 4, 4, 3, 2),
    )


PREDICATES = _predicates(ANY)
NEGATED_PREDICATES = _predicates(_NOT_ANY)
