import random

import pytest

from seqjax.data.incremental_text import IncrementalText, cut_at_stop
from seqjax.data.subwords import train_subwords
from seqjax.data.symbols import EOS, PAD, UNK, Bytes, train_symbols

TEXTS = [
    "The cat, “so to speak”, sat on the mat.",
    "Čeština: příliš žluťoučký kůň",
    "한국어 문장 하나",
    "a\u0323\u0301 x\u0301\u0323 ﬁne 😀😀 ½",
    "words  with   spaces ",
]


def tokenizers():
    yield Bytes()
    yield Bytes(normalization="NFC")
    for kind in ("word", "character", "space", "decomposed"):
        for normalization in ("none", "NFC", "NFKC"):
            yield train_symbols(kind, TEXTS, 500, 1, False, normalization)
    for kind in ("bpe", "unigram"):
        yield train_subwords(kind, TEXTS * 3, 120, False, 0.0)


TOKENIZERS = list(tokenizers())


def parts_of(tokenizer, ids, size=1, stops=()):
    text = IncrementalText(tokenizer.decode, stops)
    parts = [text.add(ids[first : first + size]) for first in range(0, len(ids), size)]
    return [*parts, text.end()]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=lambda t: f"{t.kind}-{t.normalization}")
def test_parts_add_up_to_the_text_of_any_tokens(tokenizer, size):
    draw = random.Random(0)
    outputs = [[*tokenizer.encode(text), EOS, PAD] for text in TEXTS]
    outputs += [
        [draw.randrange(UNK, tokenizer.vocabulary_size) for _ in range(30)] for _ in range(20)
    ]
    for ids in outputs:
        assert "".join(parts_of(tokenizer, ids, size)) == tokenizer.decode(ids)


def test_text_comes_one_token_later():
    tokenizer = train_symbols("space", ["one two three"], 10, 1, False)
    assert parts_of(tokenizer, tokenizer.encode("one two three")) == ["", "one", " two", " three"]


def test_half_a_character_waits():
    emoji = Bytes().encode("a😀b")
    assert parts_of(Bytes(), emoji) == ["", "a", "", "", "", "😀", "b"]
    # What never becomes one is shown all the same.
    assert "".join(parts_of(Bytes(), emoji[:3])) == "a\ufffd"


@pytest.mark.parametrize(
    ("stops", "expected"),
    [
        ((), "say END. Then ENDE"),
        (("END",), "say "),
        (("ENDE", "Then"), "say END. "),
        (("ENDED",), "say END. Then ENDE"),
        ((".", "END."), "say "),
        (("say",), ""),
    ],
)
@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_text_ends_before_its_first_stop_string(stops, expected, size):
    text = "say END. Then ENDE"
    assert cut_at_stop(text, stops) == expected
    shown = IncrementalText(Bytes().decode, stops)
    ids, parts = Bytes().encode(text), []
    for first in range(0, len(ids), size):
        parts.append(shown.add(ids[first : first + size]))
        # Nothing that might begin a stop string has been shown.
        assert expected.startswith("".join(parts))
    assert "".join([*parts, shown.end()]) == expected
    assert shown.stopped == (expected != text)
    assert not shown.stopped or shown.add(ids) == ""


def test_it_is_known_at_once_that_a_stop_string_has_come():
    text = IncrementalText(Bytes().decode, ["\n\n"])
    text.add(Bytes().encode("a\n\n"))
    assert not text.stopped
    text.add(Bytes().encode("b"))
    assert text.stopped
