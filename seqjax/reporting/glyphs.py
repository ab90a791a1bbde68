"""Which of this machine's fonts can draw the letters of a text."""

import functools
from collections.abc import Iterable

from matplotlib import font_manager

# The one that comes with Matplotlib, and one that has a box for every letter.
_USUAL, _BOXES = "DejaVu Sans", "Last Resort"


def legible(text: str) -> str:
    """Returns a text with the code in place of each letter that no font has: U+1112."""
    return "".join(letter if font_with(letter) else f"U+{ord(letter):04X}" for letter in text)


def families(texts: Iterable[str]) -> list[str]:
    """Returns the names of fonts that have the letters of all texts, the usual one first."""
    found = (font_with(letter) for letter in sorted(set("".join(texts))))
    return list(dict.fromkeys([_USUAL, *filter(None, found)]))


@functools.cache
def font_with(letter: str) -> str:
    """Returns the name of a font that has a letter, the usual one if it can be, or ''."""
    return next((name for name, path in _fonts().items() if ord(letter) in _letters(path)), "")


@functools.cache
def _fonts() -> dict[str, str]:
    """Returns the files of fonts that are upright and of ordinary weight, the usual one first."""
    found = {}
    for font in font_manager.fontManager.ttflist:
        plain = font.style == "normal" and font.weight in (400, "normal", "regular")
        if plain and not font.name.startswith(_BOXES):
            found.setdefault(font.name, font.fname)
    return dict(sorted(found.items(), key=lambda item: (item[0] != _USUAL, item[0])))


@functools.cache
def _letters(path: str) -> frozenset[int]:
    return frozenset(font_manager.get_font(path).get_charmap())
