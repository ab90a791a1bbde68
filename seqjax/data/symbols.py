"""Tokenizers that need no training algorithm: words, characters, bytes, parts between spaces.

Decoding inverts encoding to the last space for every text whose symbols are known. 'decomposed'
gives texts back composed (Unicode's NFC).
"""

import collections
import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence

import regex

from seqjax.data.text_form import TextForm
from seqjax.errors import UserError

PAD, BOS, EOS, UNK = 0, 1, 2, 3
SPECIAL_PIECES = ("<pad>", "<s>", "</s>", "<unk>")
UNKNOWN = SPECIAL_PIECES[UNK]
# A token carries the space before it, so that joining tokens restores the text. Numbers stay
# whole, English clitics come off, hyphens and all other symbols stand alone.
_INSIDE = r"[\p{L}\p{M}\p{N}]"
_WORD_TOKENS = regex.compile(
    rf"""
    [ ]? (?: \p{{N}}+ (?: [.,] \p{{N}}+ )* (?! {_INSIDE} )
           | {_INSIDE}+
           | (?<= {_INSIDE} ) ['’] (?: s | t | m | d | re | ve | ll ) (?! {_INSIDE} )
           | [^ ] )
    | [ ]
    """,
    regex.VERBOSE | regex.IGNORECASE | regex.DOTALL,
)
# Anything but a space, together with the space before it.
_SPACED_TOKENS = regex.compile(r"[ ]?[^ ]+|[ ]")
# Kinds whose tokens carry the space before them.
_WITH_SPACE = ("word", "space")


def content_tokens(ids: Sequence[int], vocabulary_size: int) -> list[int]:
    """Returns what `ids` say as text: up to EOS, without PAD and BOS, strangers as UNK."""
    content = []
    for token in map(int, ids):
        if token == EOS:
            break
        if token not in (PAD, BOS):
            content.append(token if 0 <= token < vocabulary_size else UNK)
    return content


class Symbols:
    """A closed list of the symbols seen in training.

    They are words ('word'), what stands between spaces ('space'), characters ('character'), or
    characters of the canonical decomposition ('decomposed': letters and accents, Hangul letters).
    """

    def __init__(
        self,
        kind: str,
        symbols: Sequence[str],
        lowercase: bool = False,
        normalization: str = "none",
    ):
        self.kind = kind
        self.symbols = tuple(symbols)
        self.lowercase = lowercase
        self.normalization = normalization
        self.form = _form(kind, lowercase, normalization)
        # What a text has if encoding it gives UNK.
        self.unknown = (
            f"{'words' if kind in _WITH_SPACE else 'characters'} that the vocabulary lacks"
        )
        self.vocabulary_size = len(SPECIAL_PIECES) + len(self.symbols)
        self._ids = {symbol: UNK + 1 + rank for rank, symbol in enumerate(self.symbols)}
        settings = [kind, lowercase, self.symbols]
        if normalization != "none":
            settings.append(normalization)
        self.fingerprint = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]

    def encode(self, text: str) -> list[int]:
        """Returns the ids of `text`, without BOS and EOS."""
        tokens = split_symbols(self.kind, self.form(text))
        return [self._ids.get(token, UNK) for token in tokens]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text, as `encode`."""
        return [self.encode(text) for text in texts]

    def sample(self, text: str, seed: int) -> list[int]:
        """Returns `encode(text)`: there is only one way to split a string into symbols."""
        del seed
        return self.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of `ids` up to EOS; unknown symbols read '<unk>'."""
        spaced = self.kind in _WITH_SPACE
        unknown = f" {UNKNOWN}" if spaced else UNKNOWN
        text = "".join(
            unknown if token == UNK else self.symbols[token - UNK - 1]
            for token in content_tokens(ids, self.vocabulary_size)
        )
        return self.form.normalized(text.removeprefix(" ") if spaced else text)

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Returns one printable string for each id, special ones included; '▁' shows a space."""
        names = SPECIAL_PIECES + self.symbols
        return [names[i].replace(" ", "▁") if 0 <= i < len(names) else UNKNOWN for i in ids]


class Bytes:
    """The 256 bytes of UTF-8: nothing is ever unknown."""

    kind = "byte"
    vocabulary_size = len(SPECIAL_PIECES) + 256
    unknown = "nothing"

    def __init__(self, lowercase: bool = False, normalization: str = "none"):
        self.lowercase = lowercase
        self.normalization = normalization
        self.form = TextForm(lowercase, normalization)
        self.fingerprint = "byte-lowercase" if lowercase else "byte"
        if normalization != "none":
            self.fingerprint += f"-{normalization}"

    def encode(self, text: str) -> list[int]:
        """Returns the ids of `text`, without BOS and EOS."""
        return [UNK + 1 + byte for byte in self.form(text).encode()]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Returns the ids of each text, as `encode`."""
        return [self.encode(text) for text in texts]

    def sample(self, text: str, seed: int) -> list[int]:
        """Returns `encode(text)`: there is only one way to split a string into bytes."""
        del seed
        return self.encode(text)

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of `ids` up to EOS; bytes that are not UTF-8 read '\\ufffd'."""
        parts = bytearray()
        for token in content_tokens(ids, self.vocabulary_size):
            parts += UNKNOWN.encode() if token == UNK else bytes([token - UNK - 1])
        return self.form.normalized(parts.decode(errors="replace"))

    def pieces(self, ids: Sequence[int]) -> list[str]:
        """Returns one printable string for each id, special ones included: 'a', '▁' or '<0xC3>'."""
        return [self._piece(int(token)) for token in ids]

    def _piece(self, token: int) -> str:
        if not 0 <= token < self.vocabulary_size:
            return UNKNOWN
        if token <= UNK:
            return SPECIAL_PIECES[token]
        byte = token - UNK - 1
        if byte == ord(" "):
            return "▁"
        return chr(byte) if 32 < byte < 127 else f"<0x{byte:02X}>"


def _form(kind: str, lowercase: bool, normalization: str) -> TextForm:
    """Returns the form of texts; what is decomposed to be tokenized is composed again."""
    if kind == "decomposed" and normalization == "none":
        normalization = "NFC"
    return TextForm(lowercase, normalization)


def split_symbols(kind: str, text: str) -> list[str]:
    """Splits a text into the symbols of a kind; words and the like keep the space before them."""
    if kind == "character":
        return list(text)
    if kind == "decomposed":
        return list(unicodedata.normalize("NFD", text))
    tokens = _WORD_TOKENS if kind == "word" else _SPACED_TOKENS
    # As if a space stood before the text: its first word is the same word as further inside.
    return tokens.findall(" " + text) if text else []


def train_symbols(
    kind: str,
    texts: Iterable[str],
    vocabulary: int,
    minimum_frequency: int,
    lowercase: bool,
    normalization: str = "none",
) -> Symbols:
    """Keeps the most frequent symbols (ties in code point order).

    Args:
      kind: 'word', 'character', 'space' or 'decomposed'.
      texts: the training texts.
      vocabulary: largest number of entries, the four special ones included.
      minimum_frequency: symbols seen less often are unknown.
      lowercase, normalization: the form in which texts are tokenized.
    """
    counts = collections.Counter()
    for text in map(_form(kind, lowercase, normalization), texts):
        counts.update(split_symbols(kind, text))
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = [symbol for symbol, count in ranked if count >= minimum_frequency]
    kept = kept[: max(0, vocabulary - len(SPECIAL_PIECES))]
    if not kept:
        raise UserError(
            f"tokenizer.minimum_frequency = {minimum_frequency}: expected a number that leaves some"
            f" of the {len(counts)} symbols of the training data (tokenizer.kind = {kind!r},"
            f" tokenizer.vocabulary = {vocabulary})"
        )
    return Symbols(kind, kept, lowercase, normalization)
