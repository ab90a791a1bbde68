"""`results.html`: the trials of a study on one page, for a browser without a network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seqjax.reporting.web_page import LONG, Figure, write_page
from seqjax.studies import figures
from seqjax.studies.importance import LEAST_TRIALS, importances
from seqjax.studies.results import Group, Result, best, format_value, grouped, repeat, varied
from seqjax.studies.snapshot import Snapshot
from seqjax.studies.tables import SHOWN, Column, columns_of, heading, sessions, signatures

PAGE = "results.html"
# Trials that differ in these may be scored on different examples.
_CORPUS = tuple(
    f"data.{name}"
    for name in ("corpus", "directory", "files", "validation", "test", "source", "target")
)
# What trials can come to, in the order of the summary.
_WORDS = ("done", "pruned", "running", "failed", "not run")


def write_study_page(path: Any, workdir: Path, study: Snapshot) -> None:
    """Writes the page: for each group of trials a table, the best trial, and plots.

    The table can be sorted and searched; what its search leaves out disappears from the plots. A
    trial has the same colour everywhere, and stands out everywhere when it is pointed at.

    Args:
      path: of the page.
      workdir: the folder of the study.
      study: what is known of it.
    """
    groups = grouped(study.higher, study.by, study.results)
    write_page(
        path,
        "study.html",
        title=study.name,
        summary=study_summary(study),
        groups=[_group(workdir, study, group) for group in groups],
        signatures=signatures(study),
        sessions=sessions(study),
    )


def study_summary(study: Snapshot) -> str:
    """Returns how many trials are done, running and failed, and how they are compared."""
    words = [_word(result) for result in study.results]
    counts = [f"{words.count(word)} {word}" for word in _WORDS if word in words]
    known = len(study.results)
    trials = f"{known} of {study.planned} trials" if study.searched else f"{known} trials"
    better = "higher" if study.higher else "lower"
    separate = f" Groups by {', '.join(study.by)} are not compared." if study.by else ""
    # All trials of a search are compared: that is what it is for.
    alone = study.by or study.searched
    fields = [] if alone else varied(study.results, merged=False)
    corpora = [field for field in fields if field in _CORPUS]
    if corpora:
        separate = (
            f" Trials differ in {', '.join(corpora)}: if their scores cannot be compared,"
            f" group them by Study(..., by={corpora[0]!r})."
        )
    return (
        f"{trials}: {', '.join(counts)}. Compared by {study.objective.replace('_', ' ')},"
        f" {study.compared};"
        f" {better} is better.{separate}"
    )


def _word(result: Result) -> str:
    return result.outcome.partition(":")[0].partition(" at ")[0].partition(",")[0]


def _group(workdir: Path, study: Snapshot, group: Group) -> dict[str, Any]:
    results = group.results
    first = best(study.higher, results)
    fields = varied(results, merged=not study.searched)
    columns = columns_of(study, group)
    shown = [column for column in columns if column.fields][:SHOWN]
    found = [figures.curves(study, results, metric) for metric in _measured(study)]
    return {
        "heading": heading(group),
        "best": first
        and {
            "name": first.name,
            "value": format_value(study.objective, first.value),
            "command": repeat(first, workdir).replace(" --", " \\\n  --"),
        },
        "objective": study.objective.replace("_", " "),
        "columns": [
            {
                "head": column.head,
                "title": ", ".join(column.fields),
                "hidden": bool(column.fields) and column not in shown,
                "kind": _kind(study, results, column),
            }
            for column in columns
        ],
        "rows": [_row(study, columns, results, rank, first) for rank in range(len(results))],
        "legend": [
            {
                "trial": result.name,
                "title": f"{study.objective} {format_value(study.objective, result.value)}",
                "color": figures.color(rank, len(results)),
            }
            for rank, result in enumerate(results)
            if any(result.trial.curves.values()) or result.value is not None
        ],
        "curves": [one for one in found if one],
        "parallel": figures.parallel(study, results, fields),
        "details": _details(study, results, fields),
        "failures": _failures(results),
        "note": _note(study, results),
    }


def _kind(study: Snapshot, results: Sequence[Result], column: Column) -> str:
    """Returns the style of a column: words are aligned left, long ones are given room."""
    if not any(isinstance(column.value(result), str | tuple) for result in results):
        return ""
    longest = max(len(column.text(study, result)) for result in results)
    known = column.fields or column.key == "name"
    return "word long" if known and longest > LONG else "word"


def _measured(study: Snapshot) -> list[str]:
    return list(dict.fromkeys((study.objective, "loss")))


def _row(
    study: Snapshot,
    columns: Sequence[Column],
    results: Sequence[Result],
    rank: int,
    first: Result | None,
) -> dict[str, Any]:
    result = results[rank]
    cells = []
    for column in columns:
        value, text = column.value(result), column.text(study, result)
        if column.key == "outcome":
            # Its reason is below the table.
            text = text.partition(":")[0]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        exact = repr(value) if number else ""
        if len(column.fields) > 1:
            exact = "\n".join(f"{f} = {result.fields.get(f)!r}" for f in column.fields)
        cells.append(
            {
                "text": text,
                "order": exact if number and len(column.fields) < 2 else value if number else None,
                "title": exact if exact != text else "",
                "color": figures.color(rank, len(results)) if column.key == "name" else "",
            }
        )
    failed = result.outcome.startswith("failed")
    mark = "failed" if failed else "best" if result is first else ""
    return {"trial": result.name, "mark": mark, "cells": cells}


def _details(study: Snapshot, results: Sequence[Result], fields: dict) -> list[Figure]:
    """Returns the smaller plots: importances, and of a search its history and slices."""
    names = [field for field in fields if field in study.domains]
    shares = importances(results, {field: study.domains[field] for field in names}, study.higher)
    found = [figures.importance(dict(list(shares.items())[: 2 * figures.AXES]))] if shares else []
    if study.searched:
        history = figures.history(study, results)
        found = [*([history] if history else []), *found, *figures.slices(study, results, names)]
    return found


def _failures(results: Sequence[Result]) -> dict[str, list[str]]:
    """Returns the trials that failed by the reason."""
    failures: dict[str, list[str]] = {}
    for result in results:
        if result.trial.failure:
            failures.setdefault(result.trial.failure, []).append(result.name)
    return failures


def _note(study: Snapshot, results: Sequence[Result]) -> str:
    done = sum(result.trial.done and result.value is not None for result in results)
    if not study.searched or done >= LEAST_TRIALS:
        return ""
    return f"Importances need {LEAST_TRIALS} finished trials."
