"""Texts in a form that SentencePiece takes whole.

SentencePiece keeps a few characters for itself: '▁' stands for the space, '▅' and U+001F for what
it leaves out while it trains, and NUL ends a text. A text with one of them loses it, or is skipped
in training without a word. The same holds for the names of its special pieces. Here each such
character becomes one of a private use area, and special pieces get names that no text can contain.
"""

import re

# U+0085, U+2028 and the like are ordinary characters; line ends are cut off at the end of a text.
_RESERVED = "▁▅\x1f\x00\n\r"
_ESCAPE = "\U0010f5e0"
_STAND_INS = "".join(chr(ord(_ESCAPE) + 1 + i) for i in range(len(_RESERVED)))
# A character that is used here may be in a text, too.
_WRITTEN = dict(zip(_RESERVED, _STAND_INS, strict=True)) | {
    used: _ESCAPE + used for used in _ESCAPE + _STAND_INS
}
_READ = {written: text for text, written in _WRITTEN.items()}
_TO_WRITE = re.compile(f"[{_RESERVED}{_ESCAPE}{_STAND_INS}]")
_TO_READ = re.compile(f"{_ESCAPE}[{_ESCAPE}{_STAND_INS}]|[{_STAND_INS}]")


def escape(text: str) -> str:
    """Returns the text without reserved characters; `unescape` inverts it."""
    return _TO_WRITE.sub(lambda match: _WRITTEN[match[0]], text)


def unescape(text: str) -> str:
    """Returns the text that was escaped."""
    return _TO_READ.sub(lambda match: _READ[match[0]], text)


def escaped_name(piece: str) -> str:
    """Returns a special piece's name that no escaped text contains: '<unk>' with an escape inside.

    In an escaped text an escape stands before a stand-in or another escape, in pairs, but never
    between two other characters.
    """
    return f"{piece[:-1]}{_ESCAPE}{piece[-1]}"
