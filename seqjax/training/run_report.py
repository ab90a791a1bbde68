"""`report.html` of a run: its curves, config, environment, evaluations and sample outputs.

All of it comes from the run directory, and nothing there needs to be complete: the report can be
made while the training runs.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqjax.duration import parse_duration
from seqjax.errors import UserError
from seqjax.fields import flatten, load, nested
from seqjax.reporting.digits import number
from seqjax.reporting.evaluations import read_evaluations
from seqjax.reporting.metrics_log import read_metrics
from seqjax.reporting.settings import non_defaults
from seqjax.reporting.web_page import Figure, figure, titled, write_page
from seqjax.stages import write_seconds
from seqjax.tasks.declared import MEASURES, TASKS, best_is_higher
from seqjax.training.overview import describe_model
from seqjax.training.run_lock import is_locked
from seqjax.training.saved import newest_checkpoint, saved_clock

PAGE = "report.html"

_TRAIN, _VALIDATION = "train/", "validation/"
# Counted since the beginning; they are facts of the summary and no curves.
_TOTALS = ("tokens", "seconds", "epoch")
# Metrics that share a plot: what is minimized, with and without regularization.
_LOSSES = ("loss", "objective")
# Curves stand in this order, others after them.
_FIRST = ("learning_rate", "tokens_per_second", "peak_share", "gradient_norm")
_COLORS = {_TRAIN: "#56b4e9", _VALIDATION: "#d55e00"}
# A curve of more points is drawn by every second, third, ... of them.
_MOST_POINTS = 4000
_PERCENT = ("peak_share",)
# Metrics in percent of the outputs or of their tokens.
_SHARES = ("accuracy", "at_limit", "exact_match", "error_rate")
# Facts of an evaluation that its table does not show: they stand elsewhere.
_KNOWN = ("workdir", "split", "step", "parameters", "averaged", "beam_size", "ensemble")
_UNITS = {"steps": "step", "epochs": "epoch", "tokens": "tokens", "seconds": "seconds"}


@dataclasses.dataclass(frozen=True)
class RunReport:
    """What a run directory holds.

    Attributes:
      folder: the run directory.
      running: whether a training runs in it now.
      config: every field by its path.
      metrics: the lines of `metrics.jsonl`.
      sessions: the starts of the training, as `environment.json` has them.
      evaluations: those in `evaluations/`, oldest first.
      saved: the step of the newest checkpoint, 0 if there is none.
      clock: what that checkpoint has counted.
    """

    folder: Path
    running: bool
    config: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    sessions: Sequence[Mapping[str, Any]]
    evaluations: Sequence[Mapping[str, Any]]
    saved: int = 0
    clock: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """The fields that differ from the defaults: value and default."""
        return dict(sorted(non_defaults(self.config).items()))

    def curve(self, name: str) -> list[tuple[int, float]]:
        """Returns (updates, value) of a metric such as 'validation/loss'."""
        return [(m["step"], float(m[name])) for m in self.metrics if _is_number(m.get(name))]

    def names(self) -> list[str]:
        """Returns the names of all metrics that are numbers."""
        return list(
            dict.fromkeys(n for m in self.metrics for n in m if n != "step" and _is_number(m[n]))
        )

    def last(self, name: str) -> float | None:
        """Returns the last value of a metric, None if there is none."""
        found = self.curve(name)
        return found[-1][1] if found else None


def read_run(folder: Path) -> RunReport:
    """Reads a run directory.

    Raises:
      UserError: it has no config.json, or one that is damaged.
    """
    return RunReport(
        folder,
        is_locked(folder),
        flatten(load(folder / "config.json", missing="default")),
        list(read_metrics(folder)),
        _sessions(folder),
        read_evaluations(folder),
        newest_checkpoint(folder),
        saved_clock(folder),
    )


def write_run_page(path: Any, run: RunReport) -> None:
    """Writes the page of a run."""
    metrics = _evaluated(run)
    write_page(
        path,
        "run.html",
        title=str(run.folder),
        facts=facts(run),
        curves=_curves(run),
        changed=[_field(name, *values) for name, values in run.changed.items()],
        fields=[_field(name, value, None) for name, value in sorted(run.config.items())],
        sessions=[_session(session) for session in run.sessions],
        packages=run.sessions[-1].get("packages", {}) if run.sessions else {},
        columns=[
            *(_column(head, "word") for head in ("date", "split", "step", "changes")),
            *(_column(metric.replace("_", " "), "") for metric in metrics),
        ],
        evaluations=[_evaluation(record, metrics) for record in reversed(run.evaluations)],
        samples=_samples(run),
    )


def facts(run: RunReport) -> dict[str, str]:
    """Returns the summary of a run by its headings."""
    found = {"state": _state(run)}
    found["model"] = _model(run)
    for name in run.names():
        if name.startswith(_VALIDATION):
            found[f"validation {_words(name)}"] = _reached(run, name)
    if f"{_TRAIN}loss" in run.names():
        found["training loss"] = f"{number(run.last(f'{_TRAIN}loss'))} at the last report"
    speed, seconds = run.last(f"{_TRAIN}tokens_per_second"), run.last(f"{_TRAIN}seconds")
    if speed is not None:
        found["speed"] = f"{speed:,.0f} tokens/s at the last report"
    if seconds is not None:
        found["training time"] = f"{write_seconds(seconds)}, without evaluating and saving"
    tokens, epoch = run.last(f"{_TRAIN}tokens"), run.last(f"{_TRAIN}epoch")
    if tokens is not None and epoch is not None:
        found["trained on"] = f"{tokens:,.0f} target tokens, {epoch:.2f} epochs"
    found["config"] = f"{len(run.changed)} of {len(run.config)} fields differ from the defaults"
    return found


def run_summary(run: RunReport) -> list[str]:
    """Returns the summary of a run as lines of text: facts, evaluations, changed fields."""
    found = facts(run)
    width = max(map(len, found))
    lines = [f"{name:<{width}}  {value}" for name, value in found.items() if name != "config"]
    for record in run.evaluations:
        result = record["result"]
        known = [name for name in _evaluated(run) if name in MEASURES and name in result]
        values = [f"{name.replace('_', ' ')} {_figure(name, result[name])}" for name in known]
        where = f"{record.get('split')}, step {record.get('step')}{_changes(record, ', ')}"
        lines.append(f"{'evaluated':<{width}}  {where}: {', '.join(values)}")
    lines.append(f"{'config':<{width}}  {found['config']}")
    return lines + [f"  {field} = {value!r}" for field, (value, _) in run.changed.items()]


def _figure(metric: str, value: float) -> str:
    """Writes a metric with its unit; BLEU, chrF and TER are commonly written without one."""
    return f"{number(value)}{' %' if metric in _SHARES else ''}"


def _state(run: RunReport) -> str:
    steps = [entry["step"] for entry in run.metrics]
    # A run need not report anything; what it saves has its step all the same.
    last = max([run.saved, *steps])
    amount, unit = parse_duration(run.config["train.duration"])
    name = _UNITS.get(unit, unit)
    done = last if unit == "steps" else run.last(f"{_TRAIN}{name}") or run.clock.get(name)
    share = min((done or 0) / amount, 1.0) if amount else 0.0
    early = run.config["train.stop_metric"] and (
        run.clock.get("worse", 0) >= run.config["train.patience"]
    )
    if run.running:
        state = "running"
    elif share >= 0.9999:
        state = "complete"
    else:
        state = "stopped early" if early else "stopped" if last else "begun"
    written = run.config["train.duration"]
    of = f" of {amount:,.0f}" if unit == "steps" else f"; train.duration is {written}"
    percent = "" if state == "complete" else f", {100 * share:.0f} %"
    return f"{state}, step {last:,}{of}{percent}"


def _model(run: RunReport) -> str:
    counts = [record["result"].get("parameters") for record in run.evaluations]
    count = next((f"; {count:,} parameters" for count in reversed(counts) if count), "")
    stacks = TASKS[run.config["task"]].stacks
    return describe_model(nested(run.config)["model"], stacks) + count


def _reached(run: RunReport, name: str) -> str:
    """Returns the last value of a validation metric and the best one."""
    metric = name.removeprefix(_VALIDATION)
    points = [point for point in run.curve(name) if math.isfinite(point[1])]
    if not points:
        return "never finite"
    last = f"{_figure(metric, points[-1][1])} at step {points[-1][0]:,}"
    try:
        extreme = max if best_is_higher(metric) else min
    except UserError:
        # Not among the metrics that can be compared: shares and counts.
        return last
    step, value = extreme(points, key=lambda point: point[1])
    return (
        last if step == points[-1][0] else f"{last}, best {_figure(metric, value)} at step {step:,}"
    )


def _curves(run: RunReport) -> list[Figure]:
    """Returns the plots: losses together, each other metric by itself."""
    names = run.names()
    plots: dict[str, list[str]] = {}
    for name in names:
        metric = name.partition("/")[2]
        if metric not in _TOTALS:
            plots.setdefault("loss" if metric in _LOSSES else metric, []).append(name)
    order = {metric: place for place, metric in enumerate(("loss", *_scores(names), *_FIRST))}
    return [
        _plot(run, metric, plots[metric])
        for metric in sorted(plots, key=lambda metric: order.get(metric, len(order)))
    ]


def _scores(names: Sequence[str]) -> list[str]:
    return [n.removeprefix(_VALIDATION) for n in names if n.startswith(_VALIDATION)]


def _plot(run: RunReport, metric: str, names: Sequence[str]) -> Figure:
    data, thinned = [], 1
    for name in names:
        points = run.curve(name)
        every = -(-len(points) // _MOST_POINTS)
        thinned = max(thinned, every)
        # The last point is always one of them.
        points = points[::-1][:: max(every, 1)][::-1]
        group = _TRAIN if name.startswith(_TRAIN) else _VALIDATION
        shown = "lines" if len(points) > 60 else "lines+markers"
        dash = "dot" if metric == "loss" and name.endswith("objective") else "solid"
        style = ".1%" if metric in _PERCENT else ".6g"
        data.append(
            {"type": "scatter", "mode": shown, "name": name.replace("/", " ").replace("_", " ")}
            | {"x": [step for step, _ in points], "y": [value for _, value in points]}
            | {"line": {"color": _COLORS[group], "width": 2, "dash": dash}, "marker": {"size": 5}}
            | {"hovertemplate": f"update %{{x:,}}: %{{y:{style}}}<extra>%{{fullData.name}}</extra>"}
        )
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "updates"}, "rangemode": "tozero"},
        "yaxis": _scale(metric),
        "showlegend": len(data) > 1,
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom"},
    }
    note = f"One of {thinned} reports is drawn." if thinned > 1 else ""
    return figure(titled(metric), data, layout, toggles="xy", height=300, note=note)


def _scale(metric: str) -> dict[str, Any]:
    """Returns the axis of a metric, with its unit."""
    if metric in _PERCENT:
        return {"tickformat": ".0%"}
    return {"ticksuffix": " %", "rangemode": "nonnegative"} if metric in _SHARES else {}


def _column(head: str, kind: str) -> dict[str, Any]:
    return {"head": head, "kind": kind, "title": "", "hidden": False}


def _field(name: str, value: Any, default: Any) -> dict[str, str]:
    return {"name": name, "value": repr(value), "default": repr(default)}


def _sessions(folder: Path) -> list[dict[str, Any]]:
    """Returns the starts of a training; none if the record is missing or damaged."""
    try:
        text = (folder / "environment.json").read_text(encoding="utf-8")
        return [dict(session) for session in json.loads(text)["sessions"]]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _session(session: Mapping[str, Any]) -> dict[str, str]:
    devices = session.get("devices", [])
    names = [f"{one.get('count')} x {one.get('kind')}" for one in devices if isinstance(one, dict)]
    changed = " with uncommitted changes" if session.get("dirty") else ""
    return {
        "started": str(session.get("started", "")),
        "devices": ", ".join(names),
        "processes": str(session.get("processes", "")),
        "commit": str(session.get("commit") or "unknown")[:10] + changed,
        "python": str(session.get("python", "")),
        "platform": str(session.get("platform", "")),
        "command": str(session.get("command", "")),
    }


def _evaluated(run: RunReport) -> list[str]:
    """Returns the names of the figures that some evaluation has."""
    names = (name for record in run.evaluations for name in record["result"])
    values = [record["result"] for record in run.evaluations]
    found = [
        name
        for name in dict.fromkeys(names)
        if name not in _KNOWN and any(_is_number(result.get(name)) for result in values)
    ]
    # How good the outputs are stands before what they cost.
    return sorted(found, key=lambda name: name not in MEASURES)


def _evaluation(record: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    result = record["result"]
    date = str(record.get("date", ""))
    words = [date[:16].replace("T", " "), str(record.get("split")), str(record.get("step"))]
    words.append(_changes(record) or "–")
    cells = [{"text": text, "order": None, "title": "", "color": ""} for text in words]
    for metric in metrics:
        value = result.get(metric)
        known = _is_number(value)
        cells.append(
            {"text": number(value if known else None), "title": repr(value) if known else ""}
            | {"order": repr(value) if known else None, "color": ""}
        )
    return {"trial": "", "mark": "", "cells": cells}


def _changes(record: Mapping[str, Any], before: str = "") -> str:
    """Returns the fields that an evaluation had otherwise than the run, '' for none."""
    changes = record.get("changes") or {}
    members = len(record.get("checkpoints") or {})
    parts = [f"{field} = {value!r}" for field, value in changes.items()]
    parts += [f"ensemble of {members}"] if members > 1 else []
    return before + ", ".join(parts) if parts else ""


def _samples(run: RunReport) -> dict[str, Any]:
    """Returns examples of the newest evaluation that kept some, and where they are from."""
    for record in reversed(run.evaluations):
        samples = record.get("samples")
        if samples:
            where = f"{record.get('split')}, step {record.get('step')}{_changes(record, ', ')}"
            return {"where": where, "samples": samples}
    return {"where": "", "samples": []}


def _words(name: str) -> str:
    return name.partition("/")[2].replace("_", " ")


def _is_number(value: Any) -> bool:
    """Returns whether a value of a JSON file is a number, or stands for one that JSON lacks."""
    if value in ("nan", "inf", "-inf"):
        return True
    return isinstance(value, int | float) and not isinstance(value, bool)
