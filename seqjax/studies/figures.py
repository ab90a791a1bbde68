"""The plots of a study, as plotly.js draws them: each trial has one colour in all of them."""

import html
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from seqjax.reporting.web_page import Figure, figure, titled
from seqjax.studies.grid import short_names
from seqjax.studies.results import Result, format_value
from seqjax.studies.scales import Scale, Words, label, listed, scale_of
from seqjax.studies.snapshot import Snapshot
from seqjax.studies.space import Choice, Domain, Reals

# Up to as many trials have colours that are easily distinguished (Okabe and Ito, 2008), in an order
# that is legible on white and on black.
_DISTINCT = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f")
# More have colours between these, from the best to the worst.
_RANGE = ((0x7B, 0x2C, 0xBF), (0x2A, 0x6F, 0xDB), (0x17, 0x9E, 0x8F), (0xC9, 0xA2, 0x27))
# Axes of the parallel coordinates beside the objective, and pixels for each.
AXES = 8
_AXIS_WIDTH = 120
# Positive values that differ by this factor are shown on a logarithmic axis.
_WIDE = 20
# Initially out of view: values farther from most than this many times the spread of most
# (Tukey, 1977), and the worst share of what was measured while training.
_FAR = 3.0
_USUAL = 0.8
_MARGIN = 0.05
_DASHES = {"pruned": "dash", "running": "dot"}


def color(rank: int, count: int) -> str:
    """Returns the colour of the trial at a place from 0 among `count` of them."""
    if count <= len(_DISTINCT):
        return _DISTINCT[rank]
    place = rank / (count - 1) * (len(_RANGE) - 1)
    first = min(int(place), len(_RANGE) - 2)
    low, high = _RANGE[first], _RANGE[first + 1]
    mixed = (round(a + (place - first) * (b - a)) for a, b in zip(low, high, strict=True))
    return f"#{''.join(f'{part:02x}' for part in mixed)}"


def curves(study: Snapshot, results: Sequence[Result], metric: str) -> Figure | None:
    """Returns a validation metric over the updates of each trial; None if none measured it."""
    data = []
    few = len(results) <= len(_DISTINCT)
    for rank, result in enumerate(results):
        points = [point for point in result.trial.curves.get(metric, ()) if _finite(point[1])]
        if points:
            style = {"color": color(rank, len(results)), "width": 2.5 if rank == 0 else 1.5}
            style |= {"dash": _dash(result)}
            trace = _trace(rank, result, "lines+markers" if few or len(points) == 1 else "lines")
            data.append(
                trace
                | {"x": [step for step, _ in points], "y": [value for _, value in points]}
                | {"line": style, "marker": {"size": 5, "color": style["color"]}}
                | {"hovertemplate": _hover(study, result, "update %{x:,}", f"{metric} %{{y:.6g}}")}
            )
    if not data:
        return None
    higher = study.higher if metric == study.objective else False
    shown, beyond = _view([trace["y"] for trace in data], higher)
    axis: dict[str, Any] = {"title": {"text": f"validation {metric.replace('_', ' ')}"}}
    note = []
    if beyond:
        axis["range"] = shown
        note.append("Values far worse than most lie outside this view; a double click shows all.")
    dashes = {_dash(result) for result in results if result.trial.curves.get(metric)}
    note += ["Pruned trials are dashed."] if "dash" in dashes else []
    note += ["Running trials are dotted."] if "dot" in dashes else []
    layout = {
        "xaxis": {"title": {"text": "updates"}, "rangemode": "tozero"},
        "yaxis": axis,
        "showlegend": False,
    }
    title = f"{titled(metric)} while training"
    # What is drawn last lies on top: the best.
    return figure(title, data[::-1], layout, toggles="xy", height=420, note=" ".join(note))


def parallel(
    study: Snapshot, results: Sequence[Result], fields: Mapping[str, Sequence[str]]
) -> Figure | None:
    """Returns parallel coordinates: a vertical axis for each field, one for the objective."""
    known = [(rank, result) for rank, result in enumerate(results) if result.value is not None]
    fields = dict(list(fields.items())[:AXES])
    if len(known) < 2 or not fields:
        return None
    scales = [_scale(study, results, field) for field in fields]
    values = [result.value for _, result in known]
    scales.append(_span(values))
    data = []
    for rank, result in known:
        places = [
            scale.place(result.fields[field])
            for field, scale in zip(fields, scales, strict=False)
            if field in result.fields
        ]
        if len(places) == len(fields):
            up = scales[-1].place(result.value)
            style = {"color": color(rank, len(results)), "width": 2.5 if rank == 0 else 1.5}
            data.append(
                _trace(rank, result, "lines+markers")
                | {"x": list(range(len(scales))), "y": [*places, up if study.higher else 1 - up]}
                | {"line": style | {"dash": _dash(result)}, "marker": {"size": 5}}
                | {"hovertemplate": _hover(study, result, *_values(result, fields))}
            )
    short = short_names(fields)
    names = [
        short[field] + (f" (+{len(alike) - 1})" if len(alike) > 1 else "")
        for field, alike in fields.items()
    ]
    names.append(study.objective.replace("_", " "))
    marks = [scale.ticks() for scale in scales]
    if not study.higher:
        marks[-1] = [tick._replace(place=1 - tick.place) for tick in marks[-1]]
    layout = {
        "xaxis": {
            "tickvals": list(range(len(names))),
            "ticktext": [wrapped(name, 16) for name in names],
            "range": [-0.45, len(names) - 0.6],
            "showgrid": False,
            "zeroline": False,
            "fixedrange": True,
        },
        "yaxis": {"visible": False, "range": [-0.12, 1.06], "fixedrange": True},
        "shapes": [
            {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "layer": "below"}
            | {"line": {"color": "#8b949e", "width": 1}}
            for x in range(len(names))
        ],
        "annotations": [
            {"x": x, "y": tick.place, "text": wrapped(_shortened(tick.label), 16)}
            | {"hovertext": html.escape(tick.label), "align": "right", "showarrow": False}
            | _beside(x == len(names) - 1)
            for x, ticks in enumerate(marks)
            for tick in ticks
        ],
        "showlegend": False,
    }
    note = "Each line is a trial; the last axis has the best at its top."
    width = _AXIS_WIDTH * len(names)
    return figure("Hyperparameters", data[::-1], layout, height=420, least_width=width, note=note)


def slices(study: Snapshot, results: Sequence[Result], fields: Sequence[str]) -> list[Figure]:
    """Returns, for each field of a search, its value and the objective of each trial."""
    short = short_names(fields)
    figures = []
    for field in fields[:AXES]:
        domain = study.domains.get(field)
        axis: dict[str, Any] = {"title": {"text": wrapped(short[field], 40)}}
        if isinstance(domain, Choice):
            words = [label(value) for value in domain.values]
            axis |= {"type": "category", "categoryorder": "array", "categoryarray": words}
            axis |= {"tickvals": words, "ticktext": [wrapped(_shortened(w), 16) for w in words]}
        elif isinstance(domain, Reals) and domain.log:
            axis["type"] = "log"
        x = {r.name: r.fields[field] for r in results if field in r.fields}
        if isinstance(domain, Choice):
            x = {name: label(value) for name, value in x.items()}
        data = _points(study, results, x, short[field])
        layout = {"xaxis": axis, "yaxis": _objective_axis(study), "showlegend": False}
        if data["x"]:
            toggles = "y" if isinstance(domain, Choice) else "xy"
            figures.append(figure(short[field], [data], layout, toggles=toggles, height=260))
    return figures


def history(study: Snapshot, results: Sequence[Result]) -> Figure | None:
    """Returns the objective of the trials of a search in their order, and the best so far."""
    numbers = {result.name: number for number, result in enumerate(study.results, 1)}
    data = _points(study, results, numbers, "trial")
    if len(data["x"]) < 2:
        return None
    so_far: dict[int, float] = {}
    for result in study.results:
        if result.value is not None and result.trial.done:
            before = list(so_far.values())[-1:]
            value = (max if study.higher else min)([*before, result.value])
            so_far[numbers[result.name]] = value
    line = {"type": "scatter", "mode": "lines", "x": list(so_far), "y": list(so_far.values())}
    line |= {"line": {"shape": "hv", "color": "#8b949e", "width": 1.5}, "hoverinfo": "skip"}
    layout = {
        "xaxis": {"title": {"text": "trial"}},
        "yaxis": _objective_axis(study),
        "showlegend": False,
    }
    note = "The line is the best so far."
    return figure("History", [line, data], layout, toggles="y", height=260, note=note)


def importance(shares: Mapping[str, float]) -> Figure:
    """Returns a bar for the importance of each field, the largest at the top."""
    names = [wrapped(name, 24) for name in short_names(shares).values()]
    bar = {
        "type": "bar",
        "orientation": "h",
        "y": names,
        "x": list(shares.values()),
        "text": [f"{100 * share:.0f} %" for share in shares.values()],
        "textposition": "auto",
        "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
        "marker": {"color": _DISTINCT[0]},
    }
    layout = {
        "xaxis": {"tickformat": ".0%", "rangemode": "tozero"},
        "yaxis": {"autorange": "reversed", "type": "category"},
    }
    note = "How far a field separates the best trials from all of them (PED-ANOVA)."
    return figure("Importance", [bar], layout, height=90 + 30 * len(names), note=note)


def wrapped(text: str, width: int) -> str:
    """Returns a text as plotly.js takes it, in lines that end behind '.', '_', '-' or '/'."""
    lines, line = [], ""
    for part in re.findall(r"[^-._/, ]*[-._/, ]+|[^-._/, ]+", text):
        if line and len(line) + len(part.rstrip()) > width:
            lines.append(line)
            line = ""
        line += part
    return "<br>".join(html.escape(line.strip()) for line in [*lines, line])


def _trace(rank: int, result: Result, mode: str) -> dict[str, Any]:
    return {"type": "scatter", "mode": mode, "meta": result.name, "uid": f"t{rank}"}


def _points(
    study: Snapshot, results: Sequence[Result], x: Mapping[str, Any], name: str
) -> dict[str, Any]:
    """Returns the objective of each trial over what `x` has for its name."""
    known = [(n, r) for n, r in enumerate(results) if r.value is not None and r.name in x]
    symbols = {"dash": "x", "dot": "circle-open", "solid": "circle"}
    objective = study.objective.replace("_", " ")
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [x[result.name] for _, result in known],
        "y": [result.value for _, result in known],
        # The page links a point to its trial by this.
        "customdata": [result.name for _, result in known],
        "marker": {
            "size": 8,
            "color": [color(rank, len(results)) for rank, _ in known],
            "symbol": [symbols[_dash(result)] for _, result in known],
        },
        "hovertemplate": f"<b>%{{customdata}}</b><br>{html.escape(name)}: %{{x}}<br>"
        f"{objective}: %{{y:.6g}}<extra></extra>",
    }


def _beside(last: bool) -> dict[str, Any]:
    """Returns where the marks of an axis stand: left of it, of the last one right."""
    return {"xanchor": "left", "xshift": 6} if last else {"xanchor": "right", "xshift": -6}


def _dash(result: Result) -> str:
    if result.running:
        return "dot"
    return "dash" if result.trial.pruned else "solid"


def _hover(study: Snapshot, result: Result, *lines: str) -> str:
    """Returns what is shown of a trial that is pointed at."""
    value = format_value(study.objective, result.value)
    facts = [f"<b>{wrapped(result.name, 48)}</b>", f"{study.objective}: {value}", *lines]
    if result.outcome != "done":
        facts.append(wrapped(result.outcome, 48))
    return "<br>".join(facts) + "<extra></extra>"


def _values(result: Result, fields: Sequence[str]) -> list[str]:
    """Returns the values of some fields; none of them may look like a place of the template."""
    short = short_names(fields)
    shown = list(fields)[:AXES]
    texts = [f"{short[field]}: {label(result.fields.get(field))}" for field in shown]
    return [wrapped(text.replace("%{", "% {"), 48) for text in texts]


def _objective_axis(study: Snapshot) -> dict[str, Any]:
    return {"title": {"text": study.objective.replace("_", " ")}}


def _scale(study: Snapshot, results: Sequence[Result], field: str) -> Scale | Words:
    values = [result.fields[field] for result in results if field in result.fields]
    domain: Domain | None = study.domains.get(field)
    if study.searched and domain is not None:
        return scale_of(domain)
    return listed(values) or (scale_of(domain) if domain else Words(list(dict.fromkeys(values))))


def _shortened(text: str, most: int = 44) -> str:
    """Returns a text without its middle if it is long: the ends of paths distinguish them."""
    half = most // 2 - 1
    return text if len(text) <= most else f"{text[:half]} … {text[-half:]}"


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _view(curves: Sequence[Sequence[float]], higher: bool) -> tuple[list[float], bool]:
    """Returns the range that shows what most trials did, and whether something lies outside."""
    reached = [(max if higher else min)(curve) for curve in curves]
    signed = sorted(value if higher else -value for value in reached)
    low, high = signed[len(signed) // 4], signed[(3 * len(signed)) // 4]
    fence = low - _FAR * (high - low)
    usual = sorted((v for curve in curves for v in curve), reverse=higher)
    kept = [value if higher else -value for value in signed if value >= fence]
    kept.append(usual[int(_USUAL * (len(usual) - 1))])
    margin = _MARGIN * (max(kept) - min(kept))
    bounds = [min(kept) - margin, max(kept) + margin]
    # A margin's worth of the first updates is not worth a note.
    spread = max(usual) - min(usual)
    return bounds, spread > 3 * (bounds[1] - bounds[0])


def _span(values: Sequence[float]) -> Scale:
    """Returns a scale of all values, logarithmic if they are positive and differ much."""
    low, high = min(values), max(values)
    log = low > 0 and high > _WIDE * low
    margin = 0.0 if log else _MARGIN * (high - low)
    return Scale(low - margin, high + margin, log)
