"""One page that tells a study: `results.html`, which needs nothing beside it and no network."""

import itertools
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from seqjax.files import replace_file
from seqjax.studies.grid import short_names
from seqjax.studies.importance import LEAST_TRIALS, importances
from seqjax.studies.pictures import Axis, Strand, bars, color, curves, parallel_coordinates
from seqjax.studies.results import (
    Result,
    best,
    fields_of,
    format_value,
    ranked,
    repeat,
    split_values,
)
from seqjax.studies.scales import Scale, listed, scale_of
from seqjax.studies.search import Search
from seqjax.studies.space import Domain
from seqjax.studies.study import AnyStudy

# More axes than these, beside that of the objective, cannot be read.
_AXES = 8
# Columns that do not depend on the split.
_ONCE = ("parameters", "updates", "training_seconds")
# Values that differ by such a factor are shown by their logarithms.
_WIDE = 20
# What is so many times farther from most trials than they are from each other is left out.
_FAR = 3.0
# The share of what was measured while training that is surely shown.
_USUAL = 0.8
# Room beyond the least and the largest value, as a share of what is between them.
_MARGIN = 0.04

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 1300px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0; } h2 { font-size: 1.15em; margin: 2em 0 .4em; }
p, pre { margin: .4em 0; } .quiet { color: #666; }
pre { background: #f4f4f2; padding: .8em; white-space: pre-wrap; overflow-wrap: anywhere; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; }
th, td { padding: .25em .7em; text-align: right; white-space: nowrap; }
th { border-bottom: 1px solid #888; font-weight: 600; vertical-align: bottom; }
td { border-bottom: 1px solid #eee; } .word { text-align: left; }
.reason { text-align: left; white-space: normal; min-width: 8em; }
.dot { display: inline-block; width: .8em; height: .8em; border-radius: 50%; margin-right: .5em; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: #444; }
svg .name { font-weight: 600; fill: #222; } .axis { stroke: #555; } .grid { stroke: #e4e4e4; }
svg .tick { paint-order: stroke; stroke: #fff; stroke-width: 3px; } .bar { fill: #2f6c8e; }
.s { stroke-opacity: .8; stroke-linejoin: round; } .one .s { opacity: .08; }
.one .s.on { opacity: 1; } tr.on td { background: #fdf0d8; }
"""
# Whatever is pointed at, row or line, stands out everywhere.
_SCRIPT = """
const all = document.querySelectorAll('.s, tbody tr');
const rank = e => [...e.classList].find(c => /^t\\d+$/.test(c));
const mark = on => event => {
  const name = rank(event.currentTarget);
  document.body.classList.toggle('one', on);
  document.querySelectorAll('.' + name).forEach(e => e.classList.toggle('on', on));
};
all.forEach(e => { if (rank(e)) {
  e.addEventListener('mouseenter', mark(true)); e.addEventListener('mouseleave', mark(false)); } });
"""


def write_page(
    workdir: Path, study: AnyStudy, results: Sequence[Result], domains: Mapping[str, Domain]
) -> None:
    """Writes `results.html`: a table, pictures of all trials, and how to repeat the best.

    Args:
      workdir: the folder of the study.
      study: what was run.
      results: what came of each trial.
      domains: what each field in which trials differ may be.
    """
    results = ranked(study, results)
    fields = _axes(study, results, domains)
    parts = [
        f"<h1>{escape(study.name)}</h1>",
        f'<p class="quiet">{escape(_summary(study, results))}</p>',
        *_best(workdir, study, results),
        "<h2>Trials</h2>",
        _table(study, results, list(fields)),
        *_parallel(study, results, fields, domains),
        *_curves(study, results),
        *_importance(study, results, domains),
    ]
    head = f'<meta charset="utf-8"><title>{escape(study.name)}</title><style>{_STYLE}</style>'
    body = "\n".join(parts)
    page = f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n'
    page += f"<script>{_SCRIPT}</script>\n</body></html>\n"
    replace_file(workdir / "results.html", page)


def _axes(
    study: AnyStudy, results: Sequence[Result], domains: Mapping[str, Domain]
) -> dict[str, list[str]]:
    """Returns up to eight fields, each with all those that change together in a list of trials."""
    fields = [field for field in fields_of(results) if field in domains]
    if isinstance(study, Search):
        return {field: [field] for field in fields[:_AXES]}
    groups: dict[tuple, list[str]] = {}
    for field in fields:
        values = [repr(result.job.fields.get(field)) for result in results]
        groups.setdefault(tuple(values.index(value) for value in values), []).append(field)
    # What is different in every trial tells least; what takes other fields along tells most.
    order = sorted(groups, key=lambda g: (len(set(g)) == len(g), -len(groups[g])))
    shown = (
        sorted(groups[group], key=lambda field: not field.endswith(".kind")) for group in order
    )
    return {together[0]: together for together in itertools.islice(shown, _AXES)}


def _summary(study: AnyStudy, results: Sequence[Result]) -> str:
    states = [result.trial.outcome.partition(":")[0].partition(" at ")[0] for result in results]
    counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
    searched = isinstance(study, Search)
    better = "higher" if study.higher else "lower"
    trials = (
        f"{len(results)} of {len(study.names)} trials" if searched else f"{len(results)} trials"
    )
    told = ", ".join(counts)
    return f"{trials}: {told}. Compared by {study.objective}, {study.compared}; {better} is better."


def _best(workdir: Path, study: AnyStudy, results: Sequence[Result]) -> list[str]:
    found = best(study, results)
    if found is None:
        return ["<p>No trial is done.</p>"]
    value = format_value(study.objective, found.value)
    name = escape(found.job.name)
    return [
        f"<p>Best: <b>{name}</b> with {escape(study.objective)} {value}. It can be repeated by</p>",
        f"<pre>{escape(repeat(found.job, workdir))}</pre>",
    ]


def _table(study: AnyStudy, results: Sequence[Result], fields: Sequence[str]) -> str:
    searched = isinstance(study, Search)
    heads = ["", "trial", *([f"best {study.objective}"] if searched else [])]
    heads += short_names(fields).values()
    columns = [(column, None) for column in study.columns if column in _ONCE]
    columns += [(c, split) for split in study.splits for c in study.columns if c not in _ONCE]
    for column, split in columns:
        several = split and (len(study.splits) > 1 or searched)
        heads.append(f"{column.replace('_', ' ')}{f', {split}' if several else ''}")
    heads.append("outcome")
    kinds = ["", ' class="word"'] + [""] * (len(heads) - 3) + [' class="word"']
    row = "".join(f"<th{kind}>{escape(h)}</th>" for h, kind in zip(heads, kinds, strict=True))
    count = _count(results)
    rows = []
    for rank, result in enumerate(results):
        cells = [format_value(study.objective, result.value)] if searched else []
        cells += [format_value("", result.job.fields.get(field)) for field in fields]
        for column, split in columns:
            values = split_values(result.trial, split or study.splits[0])
            cells.append(format_value(column, values.get(column)))
        dot = f'<span class="dot" style="background:{_color(rank, result, count)}"></span>'
        rows.append(
            f'<tr class="t{rank}"><td>{rank + 1 if result.value is not None else ""}</td>'
            f'<td class="word">{dot}{escape(result.job.name)}</td>'
            + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
            + f'<td class="reason">{escape(result.trial.outcome)}</td></tr>'
        )
    body = "\n".join(rows)
    table = f"<table><thead><tr>{row}</tr></thead>\n<tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _parallel(
    study: AnyStudy,
    results: Sequence[Result],
    fields: Mapping[str, Sequence[str]],
    domains: Mapping[str, Domain],
) -> list[str]:
    known = [result for result in results if result.value is not None]
    if not known or not fields:
        return []
    short = short_names(fields)
    axes = []
    for field, alike in fields.items():
        more = f" (+{len(alike) - 1})" if len(alike) > 1 else ""
        scale = scale_of(domains[field])
        if not isinstance(study, Search):
            scale = listed([result.job.fields.get(field) for result in results]) or scale
        axes.append(Axis(short[field] + more, ", ".join(alike), scale))
    values = [result.value for result in known]
    axes.append(Axis(study.objective, study.objective, _span(values), not study.higher))
    strands = [
        Strand(
            rank,
            _told(study, result, list(fields)),
            _color(rank, result, len(known)),
            [*(result.job.fields.get(field) for field in fields), result.value],
            bool(result.trial.pruned),
        )
        for rank, result in enumerate(results)
        if result.value is not None
    ]
    total = len(fields_of(results))
    shown = sum(map(len, fields.values()))
    note = (
        "Each line is a trial, dashed where it was pruned; the last axis has the best at its top."
    )
    if shown < total:
        note += f" {shown} of {total} fields are shown."
    note = f'<p class="quiet">{note}</p>'
    return ["<h2>Hyperparameters</h2>", note, parallel_coordinates(axes, strands)]


def _curves(study: AnyStudy, results: Sequence[Result]) -> list[str]:
    metric = study.objective
    if not any(result.trial.curves.get(metric) for result in results):
        metric = "loss"
    count = _count(results)
    strands = [
        Strand(
            rank,
            _told(study, result, []),
            _color(rank, result, count),
            result.trial.curves[metric],
            bool(result.trial.pruned),
        )
        for rank, result in enumerate(results)
        if result.trial.curves.get(metric)
    ]
    if not strands:
        return []
    steps = [point[0] for strand in strands for point in strand.points]
    higher = study.higher if metric == study.objective else False
    extreme = max if higher else min
    reached = [extreme(point[1] for point in strand.points) for strand in strands]
    values = sorted((p[1] for strand in strands for p in strand.points), reverse=higher)
    # Few care how bad the first updates were.
    usual = values[int(_USUAL * (len(values) - 1))]
    up = _span([*_without_outliers(reached, higher), usual])
    title = f"<h2>{escape(metric.replace('_', ' ').capitalize())} while training</h2>"
    picture = curves(strands, Scale(0, max(steps)), up, ("updates", f"validation {metric}"))
    beyond = any(not up.low <= value <= up.high for value in values)
    told = '<p class="quiet">What is far worse than most lies beyond the picture.</p>'
    return [title, *([told] if beyond else []), picture]


def _importance(
    study: AnyStudy, results: Sequence[Result], domains: Mapping[str, Domain]
) -> list[str]:
    if not domains:
        return []
    shares = importances(results, domains, study.higher)
    note = (
        "How much a hyperparameter tells the best trials from all of them (PED-ANOVA)."
        if shares
        else f"Fewer than {LEAST_TRIALS} trials are done: too few to tell."
    )
    names = short_names(shares)
    shown = {names[field]: share for field, share in list(shares.items())[: 2 * _AXES]}
    picture = [bars(shown)] if shown else []
    return ["<h2>Importance</h2>", f'<p class="quiet">{note}</p>', *picture]


def _told(study: AnyStudy, result: Result, fields: Sequence[str]) -> str:
    """Returns what is told of a trial that is pointed at."""
    short = short_names(fields)
    value = format_value(study.objective, result.value)
    values = [f"{short[f]} {format_value('', result.job.fields.get(f))}" for f in fields]
    return "\n".join([result.job.name, f"{study.objective} {value}", *values, result.trial.outcome])


def _count(results: Sequence[Result]) -> int:
    return sum(result.value is not None for result in results)


def _color(rank: int, result: Result, count: int) -> str:
    return color(rank if result.value is not None else -1, count)


def _without_outliers(values: Sequence[float], higher: bool) -> list[float]:
    """Returns the values without those that are far worse than most; John Tukey's (1977) fence."""
    signed = sorted(value if higher else -value for value in values)
    low, high = signed[len(signed) // 4], signed[(3 * len(signed)) // 4]
    fence = low - _FAR * (high - low)
    return [value if higher else -value for value in signed if value >= fence]


def _span(values: Sequence[float]) -> Scale:
    """Returns a scale of all values, by their logarithms where they differ much."""
    low, high = min(values), max(values)
    log = low > 0 and high > _WIDE * low
    if log:
        margin = (high / low) ** _MARGIN
        return Scale(low / margin, high * margin, log=True)
    margin = _MARGIN * (high - low)
    return Scale(low - margin, high + margin)
