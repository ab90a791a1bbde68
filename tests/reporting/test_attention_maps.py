import json
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.text import Text

from seqjax.reporting import glyphs
from seqjax.reporting.attention_maps import attention_figure, write_map

SOURCE = ["▁Five", "$5", "</s>"]
OUTPUT = ["▁Fünf", "</s>"]


def test_a_map_holds_the_tokens_and_the_weights(tmp_path):
    layers = [np.full((2, 2, 3), 1 / 3, np.float32), np.eye(2, 3, dtype=np.float32)[None]]
    write_map(tmp_path / "7", SOURCE, OUTPUT, layers)
    content = json.loads((tmp_path / "7.json").read_text(encoding="utf-8"))
    assert (content["source"], content["output"]) == (SOURCE, OUTPUT)
    assert [np.shape(weights) for weights in content["weights"]] == [(2, 2, 3), (1, 2, 3)]
    np.testing.assert_allclose(content["weights"][0], 1 / 3, atol=1e-6)
    assert content["weights"][1] == [[[1, 0, 0], [0, 1, 0]]]


# What other tests left open, and is collected here, is none of these warnings.
no_warning = pytest.mark.filterwarnings(
    "error", "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


@no_warning
def test_letters_without_a_font_are_shown_by_their_codes(tmp_path):
    """No warning of a missing glyph, and names as long as the codes."""
    for name, source in (("latin", ["h", "a"]), ("korean", ["\u1112", "\u1161"])):
        write_map(tmp_path / name, source, OUTPUT, [np.full((1, 2, 2), 0.5)])
    latin, korean = (imread(tmp_path / f"{name}.png").shape for name in ("latin", "korean"))
    assert korean[0] > latin[0] or glyphs.font_with("\u1112")


def test_where_the_weight_is_the_picture_is_dark(tmp_path):
    write_map(tmp_path / "1", SOURCE, OUTPUT, [np.eye(2, 3)[None]])
    picture = imread(tmp_path / "1.png")[..., :3].sum(-1)
    dark = np.argwhere(picture < 1.0)
    # A cell of 28 x 28 dots at least, on the left above and in the middle below.
    assert len(dark) > 2 * 28 * 20
    upper, lower = dark[dark[:, 0] < dark[:, 0].mean()], dark[dark[:, 0] > dark[:, 0].mean()]
    assert np.median(upper[:, 1]) < np.median(lower[:, 1])


_SENTENCES = {
    "long words": (["▁Donaudampfschifffahrtsgesellschaftskapitän", "</s>"], ["a"] * 3),
    "one token": (["a"], ["b"]),
    "scripts": (list("שלום مرحبا 你好") + ["e\u0301", "\u0301", "", "\t"], ["ﷺ", "</s>"]),
    "dollars": (["$x$", "\\frac{", "$"], ["^_", "%"]),
    "many": (["of"] * 60, ["▁international"] * 60),
}


@no_warning
@pytest.mark.parametrize("source, output", _SENTENCES.values(), ids=_SENTENCES)
@pytest.mark.parametrize("heads", [[1], [2, 1]])
def test_everything_that_is_written_is_on_the_page(source, output, heads):
    layers = [np.full((count, len(output), len(source)), 1 / len(source)) for count in heads]
    text = " ".join(source) + " and a_very_long_word_without_any_space" * 4
    figure = attention_figure(source, output, layers, text, " ".join(output))
    assert figure.dpi >= 150
    figure.draw_without_rendering()
    (width, height) = figure.canvas.get_width_height()
    written = [text for text in figure.findobj(Text) if text.get_text().strip()]
    for text in written:
        box = text.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text
        assert text.get_fontsize() >= 5
    shown = {text.get_text() for text in written}
    assert {
        f"layer {n}, head {h}" for n, c in enumerate(heads, 1) for h in range(1, c + 1)
    } <= shown
    assert "attention weight" in shown
    # Names along a side do not touch each other, nor the name of the axis.
    names = [t for t in figure.axes[0].texts if t.get_rotation() == 0 and t.get_text().strip()]
    boxes = sorted(t.get_window_extent().y0 for t in names)
    assert all(b - a > names[0].get_fontsize() * 150 / 72 for a, b in pairwise(boxes))
    left = figure.axes[0].yaxis.label.get_window_extent().x1
    assert all(t.get_window_extent().x0 > left for t in names)


def test_the_title_is_the_sentence_in_lines(tmp_path):
    text = "A  sentence\tof some words, " * 5
    figure = attention_figure(SOURCE, OUTPUT, [np.full((1, 2, 3), 1 / 3)], text, "世界" * 60)
    lines = [text.get_text() for text in figure.texts]
    assert len(lines) > 3
    start = next(i for i, line in enumerate(lines) if line.startswith("output: "))
    assert " ".join(lines[:start]) == "source: " + " ".join(text.split())
    assert (
        "".join(lines[start:]).replace("output: ", "").replace("U+4E16U+754C", "世界")
        == "世界" * 60
    )
    assert not attention_figure(SOURCE, OUTPUT, [np.full((1, 2, 3), 1 / 3)]).texts


def test_the_bar_says_what_the_darkest_color_means():
    for most, darkest in ((1.0, 1.0), (0.5, 0.5), (0.01, 0.2)):
        weights = np.zeros((1, 2, 3))
        weights[0, 0, 0] = most
        figure = attention_figure(SOURCE, OUTPUT, [weights])
        assert figure.axes[-1].get_ylim() == (0, darkest)


def test_longer_sentences_get_larger_pictures(tmp_path):
    for name, times in (("short", 2), ("long", 10)):
        weights = np.full((1, 2 * times, 3 * times), 0.1)
        write_map(tmp_path / name, SOURCE * times, OUTPUT * times, [weights])
    short, long = (imread(tmp_path / f"{name}.png").shape for name in ("short", "long"))
    assert long[0] > short[0] + 100 and long[1] > short[1] + 100
