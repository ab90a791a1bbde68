"""Pictures of where a model looks in the source: a heat map for each sentence, and its numbers."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

# Inches that a token takes in a picture, and that its axes take.
_TOKEN = 0.28
_MARGIN = 1.1


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
    """Draws a row for each layer, a column for each head."""
    rows, columns = len(layers), max(len(weights) for weights in layers)
    size = (
        columns * (_MARGIN + _TOKEN * max(len(source), 5)),
        rows * (_MARGIN + _TOKEN * max(len(output), 5)),
    )
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False)
    for layer, (weights, row) in enumerate(zip(layers, panels, strict=True), start=1):
        for head, panel in enumerate(row, start=1):
            if head > len(weights):
                panel.set_axis_off()
                continue
            panel.imshow(weights[head - 1], cmap="Blues", vmin=0, vmax=1, aspect="auto")
            # A dollar sign would begin a formula.
            for axis, tokens in ((panel.xaxis, source), (panel.yaxis, output)):
                names = [token.replace("$", r"\$") for token in tokens]
                axis.set_ticks(range(len(tokens)), names, fontsize=8)
            panel.tick_params(axis="x", labelrotation=90)
            if rows * columns > 1:
                panel.set_title(f"layer {layer}, head {head}", fontsize=9)
    return figure
