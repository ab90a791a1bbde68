"""The trials of a study in a table: `results.csv` for programs, `results.md` for people."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seqjax.files import replace_file
from seqjax.studies.grid import short_names
from seqjax.studies.results import (
    Group,
    Result,
    best,
    format_value,
    grouped,
    repeat,
    split_values,
    varied,
)
from seqjax.studies.snapshot import Snapshot
from seqjax.studies.study import COLUMNS

# The table for people, in the folder of a study.
TABLE = "results.md"
# Fields that `results.md` shows, and the page before a reader asks for more.
SHOWN = 6
# Columns that do not depend on the split.
_ONCE = ("parameters", "updates", "training_seconds")


class Column(NamedTuple):
    """A column of the table.

    Attributes:
      head: its heading.
      key: 'trial', 'outcome', 'objective', a field, or one of `study.COLUMNS`.
      split: the split that it is measured on, '' if it depends on none.
      fields: the fields that it stands for, '' for what is no field.
    """

    head: str
    key: str
    split: str = ""
    fields: Sequence[str] = ()

    def value(self, result: Result) -> Any:
        """Returns what a trial has in this column."""
        if self.fields:
            return result.fields.get(self.key)
        if self.key in ("outcome", "name"):
            return getattr(result, self.key)
        if self.key == "objective":
            return result.value
        splits = (self.split,) if self.split else ("", *result.trial.splits)
        found = (split_values(result.trial, split).get(self.key) for split in splits)
        return next((value for value in found if value is not None), None)

    def text(self, study: Snapshot, result: Result) -> str:
        """Returns that as people read it."""
        key = study.objective if self.key == "objective" else "" if self.fields else self.key
        return format_value(key, self.value(result))


def columns_of(study: Snapshot, group: Group) -> list[Column]:
    """Returns the columns of a group's table.

    First come the fields that differ, then the objective, the outcome, and the study's other
    figures.
    """
    fields = varied(group.results, merged=not study.searched)
    short = short_names(fields)
    found = [Column("trial", "name")]
    for field, alike in fields.items():
        more = f" (+{len(alike) - 1})" if len(alike) > 1 else ""
        found.append(Column(short[field] + more, field, fields=alike))
    if study.searched:
        found.append(Column(f"best {_words(study.objective)}", "objective"))
    several = len(study.splits) > 1 or study.searched
    figures = [
        Column(f"{_words(column)}, {split}" if several else _words(column), column, split)
        for split in study.splits
        for column in study.columns
        if column not in _ONCE
    ]
    # What ranks the trials stands first.
    figures.sort(key=lambda c: (c.key, c.split) != (study.objective, study.judge))
    once = [Column(_words(column), column) for column in study.columns if column in _ONCE]
    split = 0 if study.searched else 1
    return [*found, *figures[:split], Column("outcome", "outcome"), *figures[split:], *once]


def heading(group: Group) -> str:
    """Returns what the trials of a group share, '' without groups."""
    short = short_names(group.values)
    return ", ".join(f"{short[f]} = {format_value('', v)}" for f, v in group.values.items())


def signatures(study: Snapshot) -> dict[str, list[str]]:
    """Returns how each metric of the table was computed (sacreBLEU's signatures), by its name."""
    found: dict[str, set[str]] = {}
    for result in study.results:
        for split in study.splits:
            for key, value in result.trial.splits.get(split, {}).items():
                name = key.removesuffix("_signature")
                if name != key and name in study.columns:
                    found.setdefault(name, set()).add(value)
    return {name: sorted(values) for name, values in sorted(found.items())}


def sessions(study: Snapshot) -> list[str]:
    """Returns when and on what the trials ran, each line once."""
    return sorted({line for r in study.results for line in r.trial.training.get("ran", ())})


def write_tables(workdir: Path, study: Snapshot) -> None:
    """Writes `results.csv`, with all columns, and `results.md`."""
    workdir.mkdir(parents=True, exist_ok=True)
    _write_csv(workdir, study, grouped(study.higher, study.by, study.results))
    replace_file(workdir / TABLE, markdown(workdir, study))


def markdown(workdir: Path, study: Snapshot) -> str:
    """Returns `results.md`: a table for each group of trials, from the best to the worst."""
    lines = [f"# {study.name}", ""]
    for group in grouped(study.higher, study.by, study.results):
        lines += [f"## {heading(group)}", ""] if study.by else []
        lines += [*_table(study, group), ""]
        if first := best(study.higher, group.results):
            lines += [f"Best: {first.name}. Again: `{repeat(first, workdir)}`", ""]
    where = f"Split: {study.splits[0]}. " if len(study.splits) == 1 else ""
    lines.append(
        f"{where}From the best to the worst by {_words(study.objective)}, {study.compared}."
    )
    for name, found in signatures(study).items():
        lines += ["", f"{name}: " + ", ".join(f"`{signature}`" for signature in found)]
    if ran := sessions(study):
        lines += ["", *(f"- {line}" for line in ran)]
    return "\n".join(lines) + "\n"


def _write_csv(workdir: Path, study: Snapshot, groups: Sequence[Group]) -> None:
    fields = list(dict.fromkeys(field for result in study.results for field in result.fields))
    rows = [
        # A field that differs has its own column, whatever the other columns are called.
        {**split_values(result.trial, split), **result.fields}
        | {"trial": result.name, "split": split}
        | {"outcome": result.outcome, "objective": result.value}
        for group in groups
        for result in group.results
        for split in study.splits
    ]
    found = sorted({key for row in rows for key in row if key.endswith("_signature")})
    columns = ["trial", "split", "outcome", "objective", *fields, *COLUMNS, *found]
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_file(workdir / "results.csv", text.getvalue())


def _table(study: Snapshot, group: Group) -> list[str]:
    columns = columns_of(study, group)
    if all(result.outcome == "done" for result in group.results):
        columns = [column for column in columns if column.key != "outcome"]
    fields = [column for column in columns if column.fields]
    columns = [column for column in columns if column not in fields[SHOWN:]]
    lines = ["| " + " | ".join(column.head for column in columns) + " |"]
    lines.append("|" + "---|" * len(columns))
    for result in group.results:
        cells = (column.text(study, result).replace("|", "\\|") for column in columns)
        lines.append("| " + " | ".join(cells) + " |")
    if fields[SHOWN:]:
        lines += ["", f"{len(fields) - SHOWN} more fields differ: see results.csv."]
    return lines


def _words(column: str) -> str:
    return column.replace("_", " ")
