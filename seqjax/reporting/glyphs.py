"""Fonts of this machine that can draw the letters of a string."""

import contextlib
import functools
from collections.abc import Iterable

from matplotlib import font_manager

# The one that comes with Matplotlib, and one that has a box for every letter.
_USUAL, _BOXES = "DejaVu Sans", "Last Resort"


def legible(text: str) -> str:
    """Returns a string with its code in place of each letter that no font has: U+1112."""
    return "".join(letter if font_with(letter) else f"U+{ord(letter):04X}" for letter in text)


def families(texts: Iterable[str]) -> list[str]:
    """Returns the names of fonts that have the letters of all strings, the usual one first."""
    found = (font_with(letter) for letter in sorted(set("".join(texts))))
    return list(dict.fromkeys([_USUAL, *filter(None, found)]))


@functools.cache
def font_with(letter: str) -> str:
    """Returns the name of a font that has a letter, the usual one if possible, or ''."""
    for fonts in (_fonts, _new_fonts):
        for name, path in fonts().items():
            if ord(letter) in _letters(path):
                return name
    return ""


@functools.cache
def _fonts() -> dict[str, str]:
    """Returns the files of fonts that are upright and of ordinary weight, the usual one first."""
    return _ordinary(font_manager.fontManager.ttflist)


@functools.cache
def _new_fonts() -> dict[str, str]:
    """Makes known the fonts that were installed after Matplotlib listed them; returns them.

    It keeps its list in a file, and never looks for more as long as that exists.
    """
    manager = font_manager.fontManager
    before = list(manager.ttflist)
    for path in sorted({*font_manager.findSystemFonts()} - {font.fname for font in before}):
        # Files that are no fonts, or of a kind that cannot be drawn, raise various things.
        with contextlib.suppress(Exception):
            manager.addfont(path)
    return _ordinary(manager.ttflist[len(before) :])


def _ordinary(fonts: Iterable[font_manager.FontEntry]) -> dict[str, str]:
    found = {}
    for font in fonts:
        plain = font.style == "normal" and font.weight in (400, "normal", "regular")
        if plain and not font.name.startswith(_BOXES):
            found.setdefault(font.name, font.fname)
    return dict(sorted(found.items(), key=lambda item: (item[0] != _USUAL, item[0])))


@functools.cache
def _letters(path: str) -> frozenset[int]:
    return frozenset(font_manager.get_font(path).get_charmap())
