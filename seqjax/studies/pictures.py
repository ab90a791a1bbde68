"""Pictures of many trials as SVG: parallel coordinates, curves, bars.

Every trial has one colour in all of them, and its shapes the class `t0`, `t1`, ... of its rank, by
which a page can point at them.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

from seqjax.studies.scales import Scale, Words

# From the best trial, which has a colour of its own, to the worst.
_BEST = "#c8323c"
_COLORS = ((0x30, 0x10, 0x6B), (0x2F, 0x6C, 0x8E), (0x3D, 0xAB, 0x77), (0xC3, 0xD0, 0x5A))
_UNKNOWN = "#999999"
_WIDTH = 1000
# Characters of a label beside an axis; the width of one in a name, and the room that names need.
_LABEL, _CHARACTER, _ROOM = 14, 7.5, 160


class Axis(NamedTuple):
    """An axis of parallel coordinates: its name, all that it stands for, and its scale."""

    name: str
    told: str
    scale: Scale | Words
    # Whether large values lie at the bottom.
    falls: bool = False


class Strand(NamedTuple):
    """A trial in a picture: its rank, what is told of it, and its points."""

    rank: int
    told: str
    color: str
    points: Sequence[Sequence[Any]]
    # Whether it was ended before its time.
    cut: bool = False


def color(rank: int, count: int) -> str:
    """Returns the colour of a trial among those that have a value; -1 is that of one without."""
    if rank <= 0:
        return _BEST if rank == 0 else _UNKNOWN
    place = (rank - 1) / max(count - 2, 1) * (len(_COLORS) - 1)
    index = min(int(place), len(_COLORS) - 2)
    mixed = zip(_COLORS[index], _COLORS[index + 1], strict=True)
    return "#" + "".join(f"{round(a + (b - a) * (place - index)):02x}" for a, b in mixed)


def parallel_coordinates(axes: Sequence[Axis], strands: Sequence[Strand]) -> str:
    """Returns a line for each trial through its value on every axis."""
    top, height, left, right = 50, 300, 60, 70
    gap = (_WIDTH - left - right) / max(len(axes) - 1, 1)
    # Where axes are close, their names stand in two rows.
    rows = 1 if gap >= _ROOM else 2

    def across(index: int) -> float:
        return left + gap * index

    def down(axis: Axis, value: Any) -> float:
        place = axis.scale.place(value)
        return top + height * (place if axis.falls else 1 - place)

    lines = []
    for strand in reversed(strands):
        path = [
            (across(index), down(axes[index], value))
            for index, value in enumerate(strand.points)
            if value is not None
        ]
        lines.append(_strand(strand, path, dashed=strand.cut))
    frame = []
    for index, axis in enumerate(axes):
        x = across(index)
        frame.append(_line(x, top, x, top + height))
        anchor = "middle" if 0 < index < len(axes) - 1 else "end" if index else "start"
        at = x if anchor == "middle" else x + (right - 8 if index else 8 - left)
        room = rows * gap if anchor == "middle" else (rows - 0.5) * gap
        name = _short(axis.name, int(room / _CHARACTER))
        above = top - 14 - 18 * (index % rows)
        frame.append(_text(at, above, name, anchor, axis.told, "name"))
        for tick in axis.scale.ticks():
            y = top + height * (tick.place if axis.falls else 1 - tick.place)
            frame.append(_line(x - 3, y, x + 3, y))
            frame.append(_text(x + 6, y + 4, _short(tick.label, _LABEL), "start", tick.label))
    # Lines lie under the marks, which could not be read otherwise.
    return _picture(top + height + 20, [*lines, *frame])


def curves(strands: Sequence[Strand], across: Scale, up: Scale, names: tuple[str, str]) -> str:
    """Returns each trial's values over its updates; a dot is where one was ended early."""
    top, height, left, right = 30, 320, 60, 16
    width = _WIDTH - left - right

    def spot(point: Sequence[float]) -> tuple[float, float]:
        x, y = across.place(point[0]), up.place(point[1])
        # What leaves the picture does so a little above or below it.
        return left + width * x, top + height * (1 - min(max(y, -0.1), 1.1))

    frame = []
    for tick in up.ticks():
        y = top + height * (1 - tick.place)
        frame.append(_line(left, y, left + width, y, "grid"))
        frame.append(_text(left - 6, y + 4, tick.label, "end"))
    for tick in across.ticks():
        x = left + width * tick.place
        frame.append(_line(x, top + height, x, top + height + 4))
        frame.append(_text(x, top + height + 18, tick.label, "middle"))
    frame.append(_text(left + width, top + height + 36, names[0], "end", kind="name"))
    frame.append(_text(8, 14, names[1], "start", kind="name"))
    lines = []
    for strand in reversed(strands):
        path = [spot(point) for point in strand.points]
        lines.append(_strand(strand, path))
        if path and (strand.cut or len(path) == 1):
            x, y = path[-1]
            kind = f'class="s t{strand.rank}" fill="{strand.color}"'
            lines.append(f'<circle {kind} cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>')
    window = f'<rect x="{left}" y="{top}" width="{width}" height="{height}"/>'
    inside = [f'<clipPath id="c">{window}</clipPath>', '<g clip-path="url(#c)">', *lines, "</g>"]
    return _picture(top + height + 44, [*frame, *inside])


def bars(shares: Mapping[str, float]) -> str:
    """Returns a bar for each share of the whole, with its percentage."""
    row, left = 26, 220
    full = _WIDTH - left - 80
    most = max(shares.values())
    drawn = []
    for index, (name, share) in enumerate(shares.items()):
        y, width = row * index + 4, full * share / most
        drawn.append(_text(left - 8, y + 14, _short(name, 30), "end", name))
        drawn.append(f'<rect x="{left}" y="{y}" width="{width:.1f}" height="18" class="bar"/>')
        drawn.append(_text(left + width + 8, y + 14, f"{100 * share:.0f} %", "start"))
    return _picture(row * len(shares) + 8, drawn)


def _picture(height: float, inside: Sequence[str]) -> str:
    size = f'viewBox="0 0 {_WIDTH} {height:.0f}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n'
        + "\n".join(inside)
        + "\n</svg>"
    )


def _strand(strand: Strand, path: Sequence[tuple[float, float]], dashed: bool = False) -> str:
    spots = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
    width = 3 if strand.rank == 0 else 1.5
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    kind = f'class="s t{strand.rank}" fill="none" stroke="{strand.color}" stroke-width="{width}"'
    return (
        f'<polyline {kind}{dashes} points="{spots}"><title>{escape(strand.told)}</title></polyline>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "axis") -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, told: str = "", kind: str = "tick") -> str:
    title = f"<title>{escape(told)}</title>" if told and told != text else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place}>{escape(text)}{title}</text>'


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 1] + "…"
