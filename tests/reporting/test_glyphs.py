import io
import warnings
from pathlib import Path

import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure

from seqjax.reporting import glyphs
from seqjax.reporting.glyphs import families, font_with, legible


@pytest.fixture
def usual_font_only(monkeypatch):
    """Leaves the font that comes with Matplotlib, and the one that draws boxes."""
    fonts = [
        font
        for font in font_manager.fontManager.ttflist
        if font.name == "DejaVu Sans" or font.name.startswith("Last Resort")
    ]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", fonts)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    for function in _CACHED:
        function.cache_clear()
    yield
    for function in _CACHED:
        function.cache_clear()


_CACHED = glyphs.font_with, glyphs._fonts, glyphs._new_fonts


def test_letters_of_the_usual_font_stay(usual_font_only):
    assert legible("▁Fünf </s> я") == "▁Fünf </s> я"
    assert families(["▁Fünf", "я"]) == ["DejaVu Sans"]


def test_a_letter_that_no_font_has_is_its_code(usual_font_only):
    assert legible("a\u1112") == "aU+1112"
    assert font_with("\u1112") == "" and families(["\u1112"]) == ["DejaVu Sans"]


@pytest.mark.parametrize("letter", ["\t", "\x85"])
def test_what_cannot_be_drawn_draws_no_warning(letter, recwarn):
    shown = legible(f"a{letter}b")
    figure = Figure()
    figure.text(0, 0, shown, fontfamily=families([shown]))
    figure.savefig(io.BytesIO(), format="png")
    assert shown == f"aU+{ord(letter):04X}b" and not recwarn.list


def test_another_font_helps_where_it_has_the_letter():
    # A bracket's upper hook, which the fonts for formulas have that come with Matplotlib.
    assert font_with("\u23b4") != "DejaVu Sans" and legible("a\u23b4") == "a\u23b4"
    assert families(["a\u23b4"]) == ["DejaVu Sans", font_with("\u23b4")]


def test_a_font_installed_after_matplotlib_listed_them_is_found(usual_font_only, monkeypatch):
    folder = Path(font_manager.findfont("DejaVu Sans")).parent
    (path,) = folder.glob("STIXGeneral.ttf")
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [str(path), str(folder)])
    assert legible("\u23b4") == "\u23b4" and font_with("\u23b4") == "STIXGeneral"
    figure = Figure()
    figure.text(0, 0, "\u23b4", fontfamily=families(["\u23b4"]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png")
