"""Heat maps of attention over the source, one for each layer and head of a sentence.

`attention_figure` draws them, for a notebook too; `write_map` writes the picture and its numbers.
"""

import json
import math
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from seqjax.reporting.glyphs import families, legible

_DPI = 150
# Inches: the largest and the smallest side of a token; the space between maps, above a map for its
# title, around the page, for an axis label, and for the color bar with its numbers; the smallest
# width of a page; the gap between a map and its tokens.
_TOKEN, _SMALLEST = 0.22, 0.03
_BESIDE, _ABOVE, _MARGIN, _NAME, _BAR, _PAGE, _PAD = 0.2, 0.3, 0.2, 0.4, 0.9, 4.5, 0.03
# Points: the largest and the smallest font of tokens, the font of titles and of sentences.
_LARGEST, _LEAST, _TITLE, _SENTENCE = 9.0, 5.0, 8.0, 10.0
# A page of more dots is slow to draw and to open; Matplotlib refuses a side of 2^16.
_DOTS, _SIDE = 50e6, 60_000
# The least weight that is drawn darkest, so that maps of small weights stay light.
_DARKEST = 0.2


def attention_figure(
    source: Sequence[str],
    output: Sequence[str],
    layers: Sequence[np.ndarray],
    source_text: str = "",
    output_text: str = "",
) -> Figure:
    """Returns one figure of all maps of a sentence: a row for each layer, a column for each head.

    The figure grows with its content and needs no window: a notebook shows it as the last
    expression of a cell, `figure.savefig("map.pdf")` writes it. The color bar shows the scale of
    the weights.

    Args:
      source: its S tokens.
      output: its T tokens.
      layers: the weights [H, T, S] of each layer, first layer first.
      source_text, output_text: the sentences for the title, '' for none.
    """
    sides = _Side(source), _Side(output)
    page = _Page(*sides, [len(weights) for weights in layers], (source_text, output_text))
    figure = Figure(figsize=(page.width, page.height), dpi=_DPI)
    FigureCanvasAgg(figure)
    darkest = min(max(_DARKEST, *(float(np.max(weights)) for weights in layers)), 1.0)
    lowest = {head: row for row, weights in enumerate(layers) for head in range(len(weights))}
    for row, weights in enumerate(layers):
        for head, weight in enumerate(weights):
            axes = figure.add_axes(page.place(row, head))
            image = axes.imshow(
                weight, cmap="Blues", vmin=0, vmax=darkest, aspect="auto", interpolation="nearest"
            )
            axes.set_title(f"layer {row + 1}, head {head + 1}", fontsize=_TITLE, loc="left", pad=3)
            axes.set(xticks=[], yticks=[])
            if lowest[head] == row:
                _label(axes, sides[0], page, horizontal=True)
                axes.set_xlabel("source", fontsize=_TITLE, labelpad=page.beyond(sides[0]))
            if head == 0:
                _label(axes, sides[1], page, horizontal=False)
                axes.set_ylabel("output", fontsize=_TITLE, labelpad=page.beyond(sides[1]))
    bar = figure.colorbar(image, cax=figure.add_axes(page.bar()))
    bar.set_label("attention weight", fontsize=_TITLE)
    bar.ax.tick_params(labelsize=_TITLE)
    top = 1 - _MARGIN / page.height
    for line in page.lines:
        figure.text(
            _MARGIN / page.width,
            top,
            line,
            fontsize=_SENTENCE,
            fontfamily=families([line]),
            va="top",
            parse_math=False,
        )
        top -= _line_height(_SENTENCE) / page.height
    return figure


def write_map(
    path: Path,
    source: Sequence[str],
    output: Sequence[str],
    layers: Sequence[np.ndarray],
    source_text: str = "",
    output_text: str = "",
) -> None:
    """Writes `path`.png, the figure of `attention_figure`, and `path`.json; `path` has no suffix.

    The JSON file holds an object: `source` and `output` are the tokens, `weights` are four nested
    lists in the order of `axes`.
    """
    content = {
        "source": list(source),
        "output": list(output),
        "axes": ["layer", "head", "output", "source"],
        "weights": [np.round(weights.astype(np.float64), 6).tolist() for weights in layers],
    }
    path.with_name(f"{path.name}.json").write_text(
        json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    figure = attention_figure(source, output, layers, source_text, output_text)
    figure.savefig(path.with_name(f"{path.name}.png"), dpi=_DPI)


class _Side:
    """The tokens along one side of each map."""

    def __init__(self, tokens: Sequence[str]):
        self.names = [_visible(token) for token in tokens]
        self.fonts = families(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def longest(self, points: float) -> float:
        """Returns the inches that the longest name takes in letters of a size."""
        figure = Figure(dpi=72)
        renderer = FigureCanvasAgg(figure).get_renderer()
        font = FontProperties(family=self.fonts, size=points)
        widths = (
            renderer.get_text_width_height_descent(name, font, ismath=False)[0]
            for name in set(self.names)
        )
        return max(widths, default=0.0) / 72


class _Box(NamedTuple):
    left: float
    bottom: float
    width: float
    height: float


class _Page:
    """The layout of a page, in inches from its lower left corner."""

    def __init__(
        self, source: _Side, output: _Side, heads: Sequence[int], sentences: tuple[str, str]
    ):
        rows, columns = len(heads), max(heads)
        cells = rows * len(output) * columns * len(source)
        # Margins are small beside many maps.
        token = min(
            _TOKEN,
            math.sqrt(_DOTS / cells) / _DPI,
            _SIDE / _DPI / max(rows * len(output), columns * len(source)),
        )
        self.token = max(token, _SMALLEST)
        self.points = min(max(0.8 * 72 * self.token, _LEAST), _LARGEST)
        # If letters are larger than tokens, only every second, third, ... token is labelled.
        self.every = math.ceil(1.1 * self.points / (72 * self.token))
        self._map = (len(source) * self.token, len(output) * self.token)
        # From a map to its tokens, in shares of its sides.
        self.pad = tuple(_PAD / side for side in self._map)
        self._left = _MARGIN + output.longest(self.points) + _NAME
        self._bottom = source.longest(self.points) + _NAME
        maps = (
            columns * self._map[0] + (columns - 1) * _BESIDE,
            rows * (self._map[1] + _ABOVE),
        )
        self.width = max(self._left + maps[0] + _BAR + _MARGIN, _PAGE)
        self.lines = [
            line
            for name, text in zip(("source", "output"), sentences, strict=True)
            if text
            for line in _wrapped(f"{name}: {text}", self.width - 2 * _MARGIN)
        ]
        above = len(self.lines) * _line_height(_SENTENCE) + _MARGIN
        self._top = self._bottom + maps[1]
        self._right = self._left + maps[0]
        self.height = self._top + above

    def beyond(self, side: _Side) -> float:
        """Returns the points from a map to the far end of the tokens along a side."""
        return 72 * (2 * _PAD + side.longest(self.points))

    def place(self, row: int, column: int) -> _Box:
        """Returns the box of a map, in shares of the page."""
        width, height = self._map
        left = self._left + column * (width + _BESIDE)
        bottom = self._top - (row + 1) * (height + _ABOVE)
        return self._shares(left, bottom, width, height)

    def bar(self) -> _Box:
        """Returns the box of the color bar."""
        height = min(2.0, self._top - _ABOVE - self._bottom)
        return self._shares(self._right + _BESIDE, self._top - _ABOVE - height, 0.12, height)

    def _shares(self, left: float, bottom: float, width: float, height: float) -> _Box:
        return _Box(
            left / self.width, bottom / self.height, width / self.width, height / self.height
        )


def _label(axes: Axes, side: _Side, page: _Page, horizontal: bool) -> None:
    """Writes the tokens along the lower or the left side of a map."""
    # Plain text, since an axis tick takes ten times as long.
    style = {"fontsize": page.points, "fontfamily": side.fonts, "parse_math": False}
    for place in range(0, len(side), page.every):
        name = side.names[place]
        if horizontal:
            where = (place, -page.pad[1]), {"rotation": 90, "ha": "center", "va": "top"}
            transform = axes.get_xaxis_transform()
        else:
            where = (-page.pad[0], place), {"ha": "right", "va": "center_baseline"}
            transform = axes.get_yaxis_transform()
        (x, y), aligned = where
        axes.text(x, y, name, transform=transform, **aligned, **style)


def _visible(token: str) -> str:
    """Returns the label of a token: never empty, and never a combining mark without a letter."""
    if not token:
        return "∅"
    if unicodedata.combining(token[0]):
        token = f"◌{token}"
    return "".join("␣" if letter == " " else legible(letter) for letter in token)


def _line_height(points: float) -> float:
    return 1.4 * points / 72


def _wrapped(text: str, width: float) -> list[str]:
    """Breaks a string into lines of a width in inches, between words or inside a long one."""
    most = width * 72 / (0.62 * _SENTENCE)
    lines, line = [], ""
    for word in legible(" ".join(text.split())).split(" "):
        word = f" {word}" if line else word
        # A word that is longer than a line continues this one.
        for part in [word] if _columns(word) <= most else word:
            if line and _columns(line + part) > most:
                lines.append(line)
                line, part = "", part.lstrip(" ")
            line += part
    return [*lines, line]


def _columns(text: str) -> float:
    """Returns the width of a string in Latin letters; East Asian characters are wider."""
    return sum(1.7 if unicodedata.east_asian_width(letter) in "WF" else 1.0 for letter in text)
