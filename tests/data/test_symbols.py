import pytest

from seqjax.data.symbols import UNK, Bytes, Symbols, split_symbols, train_symbols
from seqjax.errors import UserError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A dog, barking.", [" A", " dog", ",", " barking", "."]),
        ("the dog's don't IT'S", [" the", " dog", "'s", " don", "'t", " IT", "'S"]),
        ("'so' l'homme rock'n", [" '", "so", "'", " l", "'", "homme", " rock", "'", "n"]),
        ("3,000.50 3rd 2. B2B", [" 3,000.50", " 3rd", " 2", ".", " B2B"]),
        ("well-known a_b", [" well", "-", "known", " a", "_", "b"]),
        ("cafe\u0301 नमस्ते", [" cafe\u0301", " नमस्ते"]),
        ("  two  spaces ", [" ", " ", " two", " ", " spaces", " "]),
        ("a\n\tb\u00a0c", [" a", "\n", "\t", "b", "\u00a0", "c"]),
        (" ", [" ", " "]),
        ("", []),
    ],
)
def test_words(text, expected):
    tokens = split_symbols("word", text)
    assert tokens == expected
    assert "".join(tokens) == (f" {text}" if text else "")


def test_most_frequent_symbols_first_and_ties_in_order():
    texts = ["b a", "b a", "d c", "c d", "e"]
    everything = train_symbols("word", texts, 100, 1, False)
    assert everything.symbols == (" a", " b", " c", " d", " e")
    # Order of the texts is of no consequence.
    assert train_symbols("word", texts[::-1], 100, 1, False).symbols == everything.symbols
    assert train_symbols("word", texts, 7, 1, False).symbols == (" a", " b", " c")
    assert train_symbols("word", texts, 100, 2, False).symbols == (" a", " b", " c", " d")
    assert train_symbols("word", texts, 7, 1, False).vocabulary_size == 7


def test_words_keep_their_place_around_unknown_ones():
    words = Symbols("word", [" a", ","])
    assert words.encode("a b, c") == [4, UNK, 5, UNK]
    assert words.decode([4, UNK, 5, UNK]) == "a <unk>, <unk>"
    assert words.pieces([4, UNK, 5]) == ["▁a", "<unk>", ","]


def test_nothing_left():
    with pytest.raises(UserError, match="minimum_frequency = 9: expected"):
        train_symbols("word", ["a b"], 100, 9, False)
    with pytest.raises(UserError, match="some of the 0 symbols"):
        train_symbols("character", [], 100, 1, False)


def test_bytes():
    tokenizer = Bytes()
    assert tokenizer.vocabulary_size == 260
    assert tokenizer.encode("a é") == [4 + 97, 4 + 32, 4 + 0xC3, 4 + 0xA9]
    assert tokenizer.pieces(tokenizer.encode("a é")) == ["a", "▁", "<0xC3>", "<0xA9>"]
    assert tokenizer.decode([4 + 97, 4 + 0xC3]) == "a\ufffd"
    assert Bytes(lowercase=True).encode("É") == tokenizer.encode("é")
