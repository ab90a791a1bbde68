"""Pictures of where a model looks in the source: a heat map for each sentence, and its numbers."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from seqjax.reporting.glyphs import families, legible

# Inches that a token takes in a picture, at most, and that a whole side may have.
_TOKEN, _SIDE = 0.28, 60.0
# Tokens that lie between two maps, for a title.
_GAP = 2
# Points of the letters where a token has `_TOKEN`, and inches that each of them takes.
_POINTS, _LETTER = 8, 0.075


def write_map(
    path: Path, source: Sequence[str], output: Sequence[str], layers: Sequence[np.ndarray]
) -> None:
    """Writes `path`.png and `path`.json.

    Args:
      path: without a suffix.
      source: its S tokens.
      output: its T tokens.
      layers: the weights [H, T, S] of each layer, first layer first.
    """
    content = {
        "source": list(source),
        "output": list(output),
        "axes": ["layer", "head", "output", "source"],
        "weights": [np.round(weights.astype(np.float64), 6).tolist() for weights in layers],
    }
    path.with_suffix(".json").write_text(
        json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    _draw(source, output, layers).savefig(path.with_suffix(".png"), dpi=100)


def _draw(source, output, layers) -> Figure:
    """Draws all maps as one image, a row for each layer, a column for each head.

    Tokens stand beside the outer maps only: text is what takes long to draw.
    """
    source, output = ([legible(token) for token in tokens] for tokens in (source, output))
    maps = _tile(layers, len(output), len(source))
    token = min(_TOKEN, _SIDE / max(maps.shape))
    points = _POINTS * token / _TOKEN
    letter = _LETTER * token / _TOKEN
    left, below = (0.5 + letter * max(map(len, tokens)) for tokens in (output, source))
    above, right = 0.3, 0.2
    width = left + token * maps.shape[1] + right
    height = below + token * maps.shape[0] + above
    figure = Figure(figsize=(width, height))
    panel = figure.add_axes(
        (left / width, below / height, 1 - (left + right) / width, 1 - (below + above) / height)
    )
    panel.imshow(maps, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    panel.set_frame_on(False)
    panel.set_xlabel("source")
    panel.set_ylabel("output")
    panel.tick_params(axis="x", labelrotation=90)
    rows, columns = len(layers), max(len(weights) for weights in layers)
    for axis, tokens, times in ((panel.xaxis, source, columns), (panel.yaxis, output, rows)):
        places = [start + i for start in _starts(len(tokens), times) for i in range(len(tokens))]
        # A dollar sign would begin a formula.
        names = [token.replace("$", r"\$") for token in tokens] * times
        axis.set_ticks(places, names, fontsize=points, fontfamily=families(tokens))
    for layer, (top, weights) in enumerate(
        zip(_starts(len(output), rows), layers, strict=True), start=1
    ):
        for head, side in enumerate(_starts(len(source), len(weights)), start=1):
            panel.text(side - 0.5, top - 0.8, f"layer {layer}, head {head}", fontsize=points)
    return figure


def _starts(length: int, times: int) -> list[int]:
    """Returns where each of some maps begins, along one axis."""
    return [i * (length + _GAP) for i in range(times)]


def _tile(layers, rows: int, columns: int) -> np.ndarray:
    """Returns all maps in one array, nothing (NaN) between them."""
    heads = max(len(weights) for weights in layers)
    shape = [
        times * (size + _GAP) - _GAP for times, size in ((len(layers), rows), (heads, columns))
    ]
    tiled = np.full(shape, np.nan, np.float32)
    for weights, top in zip(layers, _starts(rows, len(layers)), strict=True):
        for head, side in zip(weights, _starts(columns, len(weights)), strict=True):
            tiled[top : top + rows, side : side + columns] = head
    return tiled
