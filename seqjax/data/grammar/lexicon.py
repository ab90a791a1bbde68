"""The words of the synthetic English-German corpus: nouns, adjectives and verbs, with their forms.

English and German forms correspond one to one. Hence there is no 'read' (its past looks like its
present), no 'you' (du, ihr, Sie) and no accusative 'her' (sie, like 'them').
"""

from typing import NamedTuple


class Noun(NamedTuple):
    """A noun in both languages.

    `kind` is 'p' (person), 'a' (animal), 't' (thing) or 'l' (place). `classes` holds the kind and,
    for things, 'e' (can be eaten), 'o' (can be opened) and 'w' (can be written). `oblique` is the
    German accusative and dative singular, which differs from the nominative only in the
    n-declension (der Junge, den Jungen).
    """

    kind: str
    classes: str
    english: str
    english_plural: str
    gender: str
    german: str
    oblique: str
    german_plural: str


class Adjective(NamedTuple):
    """An adjective; `stem` takes the German endings (teuer, ein teures Buch)."""

    kinds: str
    english: str
    german: str
    stem: str


class Verb(NamedTuple):
    """A verb and its complements.

    `objects` lists the noun classes of its object. `prefix` is separable (ruft ... an), `auxiliary`
    forms the perfect, and `preposition` and `case` belong to the complement, if there is one.
    """

    english: str
    english_third: str
    english_past: str
    prefix: str
    infinitive: str
    third: str
    auxiliary: str
    participle: str
    objects: str = ""
    english_preposition: str = ""
    preposition: str = ""
    case: str = "accusative"


def _nouns(kind: str, table: str) -> tuple[Noun, ...]:
    nouns = []
    for row in table.strip().splitlines():
        english, english_plural, gender, singular, german_plural, *classes = row.split()
        german, _, oblique = singular.partition("/")
        nouns.append(
            Noun(
                kind,
                kind + "".join(classes),
                english,
                english_plural,
                gender,
                german,
                oblique or german,
                german_plural,
            )
        )
    return tuple(nouns)


def _adjectives(table: str) -> tuple[Adjective, ...]:
    adjectives = []
    for row in table.strip().splitlines():
        kinds, english, german, *stem = row.split()
        adjectives.append(Adjective(kinds, english, german, stem[0] if stem else german))
    return tuple(adjectives)


def _verbs(table: str, objects: str = "", **governed: str) -> tuple[Verb, ...]:
    verbs = []
    for row in table.strip().splitlines():
        *english, infinitive, third, perfect = (word.replace("_", " ") for word in row.split())
        prefix, _, base = infinitive.rpartition(" ")
        auxiliary, participle = perfect.split()
        verbs.append(
            Verb(*english, prefix, base, third, auxiliary, participle, objects, **governed)
        )
    return tuple(verbs)


PERSONS = _nouns(
    "p",
    """
    man men m Mann Männer
    woman women f Frau Frauen
    child children n Kind Kinder
    boy boys m Junge/Jungen Jungen
    girl girls n Mädchen Mädchen
    teacher teachers m Lehrer Lehrer
    student students m Student/Studenten Studenten
    doctor doctors m Arzt Ärzte
    friend friends m Freund Freunde
    neighbor neighbors m Nachbar/Nachbarn Nachbarn
    baker bakers m Bäcker Bäcker
    king kings m König Könige
    queen queens f Königin Königinnen
    actress actresses f Schauspielerin Schauspielerinnen
    brother brothers m Bruder Brüder
    sister sisters f Schwester Schwestern
    mother mothers f Mutter Mütter
    daughter daughters f Tochter Töchter
    uncle uncles m Onkel Onkel
    aunt aunts f Tante Tanten
    """,
)
ANIMALS = _nouns(
    "a",
    """
    dog dogs m Hund Hunde
    cat cats f Katze Katzen
    horse horses n Pferd Pferde
    bird birds m Vogel Vögel
    cow cows f Kuh Kühe
    bear bears m Bär/Bären Bären
    """,
)
THINGS = _nouns(
    "t",
    """
    book books n Buch Bücher ow
    letter letters m Brief Briefe ow
    story stories f Geschichte Geschichten w
    newspaper newspapers f Zeitung Zeitungen
    picture pictures n Bild Bilder
    car cars n Auto Autos
    bicycle bicycles n Fahrrad Fahrräder
    table tables m Tisch Tische
    chair chairs m Stuhl Stühle
    lamp lamps f Lampe Lampen
    clock clocks f Uhr Uhren
    key keys m Schlüssel Schlüssel
    knife knives n Messer Messer
    glass glasses n Glas Gläser
    bag bags f Tasche Taschen o
    door doors f Tür Türen o
    window windows n Fenster Fenster o
    apple apples m Apfel Äpfel e
    cake cakes m Kuchen Kuchen e
    egg eggs n Ei Eier e
    flower flowers f Blume Blumen
    shirt shirts n Hemd Hemden
    hat hats m Hut Hüte
    coat coats m Mantel Mäntel
    """,
)
PLACES = _nouns(
    "l",
    """
    garden gardens m Garten Gärten
    forest forests m Wald Wälder
    park parks m Park Parks
    shop shops m Laden Läden
    kitchen kitchens f Küche Küchen
    school schools f Schule Schulen
    church churches f Kirche Kirchen
    house houses n Haus Häuser
    museum museums n Museum Museen
    castle castles n Schloss Schlösser
    """,
)
NOUNS = PERSONS + ANIMALS + THINGS + PLACES

ADJECTIVES = _adjectives(
    """
    patl old alt
    patl big groß
    patl small klein
    patl beautiful schön
    p young jung
    p friendly freundlich
    p clever klug
    p rich reich
    p poor arm
    pa tired müde müd
    pa hungry hungrig
    pa sad traurig
    pl famous berühmt
    tl new neu
    tl expensive teuer teur
    tl dark dunkel dunkl
    at heavy schwer
    at white weiß
    at black schwarz
    at brown braun
    t red rot
    t green grün
    t blue blau
    t cheap billig
    l quiet ruhig
    l modern modern
    """
)

# English base, third person, past; German infinitive, third person, auxiliary and participle.
TRANSITIVE = (
    *_verbs(
        """
        buy buys bought kaufen kauft hat_gekauft
        sell sells sold verkaufen verkauft hat_verkauft
        find finds found finden findet hat_gefunden
        look_for looks_for looked_for suchen sucht hat_gesucht
        need needs needed brauchen braucht hat_gebraucht
        forget forgets forgot vergessen vergisst hat_vergessen
        bring_along brings_along brought_along mit_bringen bringt hat_mitgebracht
        """,
        objects="t",
    ),
    *_verbs("eat eats ate essen isst hat_gegessen", objects="e"),
    *_verbs("write writes wrote schreiben schreibt hat_geschrieben", objects="w"),
    *_verbs(
        """
        open opens opened auf_machen macht hat_aufgemacht
        close closes closed zu_machen macht hat_zugemacht
        """,
        objects="o",
    ),
    *_verbs(
        """
        invite invites invited ein_laden lädt hat_eingeladen
        call calls called an_rufen ruft hat_angerufen
        ask asks asked fragen fragt hat_gefragt
        visit visits visited besuchen besucht hat_besucht
        """,
        objects="p",
    ),
    *_verbs(
        """
        see sees saw sehen sieht hat_gesehen
        love loves loved lieben liebt hat_geliebt
        """,
        objects="pat",
    ),
)
DATIVE = _verbs(
    """
    help helps helped helfen hilft hat_geholfen
    thank thanks thanked danken dankt hat_gedankt
    trust trusts trusted vertrauen vertraut hat_vertraut
    follow follows followed folgen folgt ist_gefolgt
    listen_to listens_to listened_to zu_hören hört hat_zugehört
    """,
    objects="p",
    case="dative",
)
PREPOSITIONAL = (
    *_verbs(
        "wait waits waited warten wartet hat_gewartet",
        objects="p",
        english_preposition="for",
        preposition="auf",
    ),
    *_verbs(
        "think thinks thought denken denkt hat_gedacht",
        objects="pt",
        english_preposition="of",
        preposition="an",
    ),
    *_verbs(
        """
        speak speaks spoke sprechen spricht hat_gesprochen
        play plays played spielen spielt hat_gespielt
        """,
        objects="pa",
        english_preposition="with",
        preposition="mit",
        case="dative",
    ),
)
DITRANSITIVE = _verbs(
    """
    give gives gave geben gibt hat_gegeben
    show shows showed zeigen zeigt hat_gezeigt
    send sends sent schicken schickt hat_geschickt
    lend lends lent leihen leiht hat_geliehen
    """,
    objects="t",
)
INTRANSITIVE = _verbs(
    """
    get_up gets_up got_up auf_stehen steht ist_aufgestanden
    arrive arrives arrived an_kommen kommt ist_angekommen
    leave leaves left weg_gehen geht ist_weggegangen
    """
)
LOCATED = _verbs(
    """
    sleep sleeps slept schlafen schläft hat_geschlafen
    work works worked arbeiten arbeitet hat_gearbeitet
    sing sings sang singen singt hat_gesungen
    dance dances danced tanzen tanzt hat_getanzt
    sit sits sat sitzen sitzt hat_gesessen
    """
)
MOTION = _verbs(
    """
    go goes went gehen geht ist_gegangen
    run runs ran laufen läuft ist_gelaufen
    come comes came kommen kommt ist_gekommen
    """
)
REPORTING = _verbs(
    """
    know knows knew wissen weiß hat_gewusst
    believe believes believed glauben glaubt hat_geglaubt
    hope hopes hoped hoffen hofft hat_gehofft
    say says said sagen sagt hat_gesagt
    """
)
