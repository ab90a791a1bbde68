"""The trials of a study in a table: `results.csv` for programs, `results.md` for people."""

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seqjax.files import replace_file
from seqjax.studies.grid import short_names
from seqjax.studies.search import Search
from seqjax.studies.study import COLUMNS, AnyStudy, Job
from seqjax.studies.trial import Trial

_FORMATS = {
    "parameters": "{:,.0f}",
    "updates": "{:,.0f}",
    "training_seconds": "{:,.0f}",
    "loss": "{:.3f}",
    "output_tokens": "{:,.0f}",
    "decoding_seconds": "{:,.1f}",
    "output_tokens_per_second": "{:,.0f}",
}
_UNKNOWN = "–"
# The table for people, in the folder of a study.
TABLE = "results.md"
# Fields that `results.md` shows: the architectures of a study may differ in dozens.
_FIELDS = 6


class Result(NamedTuple):
    """A trial, what came of it, and its value of the objective, None where it has none."""

    job: Job
    trial: Trial
    value: float | None


def ranked(study: AnyStudy, results: Sequence[Result]) -> list[Result]:
    """Returns the trials from the best to the worst; those that were pruned come after them."""

    def place(result: Result) -> tuple[bool, bool, float]:
        value = result.value or 0.0
        return (result.value is None, not result.trial.done, -value if study.higher else value)

    return sorted(results, key=place)


def best(study: AnyStudy, results: Sequence[Result]) -> Result | None:
    """Returns the best of the trials that are done, None where there is none."""
    done = [result for result in results if result.trial.done and result.value is not None]
    return ranked(study, done)[0] if done else None


def repeat(job: Job, workdir: Path) -> str:
    """Returns the command that trains a trial again, in a folder of its own."""
    return f"python launch.py {shlex.join(job.training(workdir / f'{job.name}-again'))}"


def fields_of(results: Sequence[Result]) -> list[str]:
    """Returns the fields in which the trials differ."""
    return list(dict.fromkeys(field for result in results for field in result.job.fields))


def write_tables(workdir: Path, study: AnyStudy, results: Sequence[Result]) -> None:
    """Writes `results.csv`, with all columns, and `results.md`.

    Trials stand from the best to the worst.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    results = ranked(study, results)
    fields = fields_of(results)
    rows = [_row(result, split) for result in results for split in study.splits]
    signatures = sorted({key for row in rows for key in row if key.endswith("_signature")})
    text = io.StringIO()
    columns = ["trial", "split", "outcome", "objective", *fields, *COLUMNS, *signatures]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_file(workdir / "results.csv", text.getvalue())
    markdown = _markdown(study, rows, fields if len(fields) <= _FIELDS else [], signatures)
    ran = sorted({line for result in results for line in result.trial.training.get("ran", ())})
    markdown += ["", *(f"- {line}" for line in ran)] if ran else []
    first = best(study, results)
    if first:
        markdown += ["", f"The best again: `{repeat(first.job, workdir)}`"]
    replace_file(workdir / TABLE, "\n".join(markdown) + "\n")


def split_values(trial: Trial, split: str) -> dict[str, Any]:
    """Returns what is known of a trial on a split, by the names in `COLUMNS`."""
    values = {**trial.training, **trial.splits.get(split, {})}
    if values.get("decoding_seconds"):
        speed = values["output_tokens"] / values["decoding_seconds"]
        values["output_tokens_per_second"] = round(speed, 1)
    return {key: value for key, value in values.items() if key not in ("workdir", "split")}


def format_value(column: str, value: Any) -> str:
    """Returns a value of a column as people read it; whatever is no column is a field."""
    if value is None:
        return _UNKNOWN
    if isinstance(value, bool | str | tuple):
        return ",".join(value) if isinstance(value, tuple) else str(value)
    if column not in COLUMNS:
        return str(value) if isinstance(value, int) else f"{value:.4g}"
    return _FORMATS.get(column, "{:.2f}").format(value)


def _row(result: Result, split: str) -> dict[str, Any]:
    job, trial, value = result
    known = {"trial": job.name, "split": split, "outcome": trial.outcome, "objective": value}
    # A field that is searched is told in full, whatever the other columns are called.
    return {**split_values(trial, split), **job.fields, **known}


def _markdown(
    study: AnyStudy, rows: Sequence[Mapping[str, Any]], fields: list[str], signatures: list[str]
) -> list[str]:
    short = short_names(fields)
    heads = {"trial": "trial"}
    if len(study.splits) > 1:
        heads["split"] = "split"
    if isinstance(study, Search):
        heads["objective"] = f"best {study.objective.replace('_', ' ')}"
    heads |= short
    heads |= {column: column.replace("_", " ") for column in study.columns}
    if not all(row["outcome"] == "done" for row in rows):
        heads["outcome"] = "outcome"
    lines = [
        f"# {study.name}",
        "",
        "| " + " | ".join(heads.values()) + " |",
        "|" + "---|" * len(heads),
    ]
    for row in rows:
        cells = (
            format_value(study.objective if column == "objective" else column, row.get(column))
            for column in heads
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    split = f"Split: {study.splits[0]}. " if len(study.splits) == 1 else ""
    lines += ["", f"{split}From the best to the worst by {study.objective}, {study.compared}."]
    for key in signatures:
        name = key.removesuffix("_signature")
        found = sorted({row[key] for row in rows if key in row})
        if name in study.columns:
            lines += ["", f"{name}: " + ", ".join(f"`{signature}`" for signature in found)]
    return lines
