"""What is known of the trials of a study: kept beside each run, told in one table."""

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seqjax.files import replace_file
from seqjax.reporting.metrics_log import read_metrics
from seqjax.studies.study import COLUMNS, Study

_FILE = "results.json"
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


@dataclasses.dataclass(frozen=True)
class Trial:
    """What came of a trial.

    Attributes:
      training: `updates` and `training_seconds`, and what it ran on.
      splits: what `evaluate` printed for each split.
      failure: why there is nothing of that, '' where nothing failed.
    """

    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    splits: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    failure: str = ""

    @property
    def done(self) -> bool:
        """Whether it was trained and evaluated."""
        return bool(self.splits)

    @property
    def outcome(self) -> str:
        """Tells that in words."""
        return f"failed: {self.failure}" if self.failure else "done" if self.done else "not run"


def write_trial(folder: Path, config: Mapping[str, Any], trial: Trial) -> None:
    """Keeps what came of a trial in its run directory, beside what came of it with other configs.

    A split that was evaluated before with the same config stays known.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = read_trial(folder, config)
    trial = dataclasses.replace(
        trial,
        training=trial.training or before.training,
        splits={**before.splits, **trial.splits},
    )
    records = _records(folder)
    records[_fingerprint(config)] = {"config": config, **dataclasses.asdict(trial)}
    replace_file(folder / _FILE, json.dumps(records, indent=2, ensure_ascii=False) + "\n")


def read_trial(folder: Path, config: Mapping[str, Any]) -> Trial:
    """Returns what is known of a trial with this config; nothing, if it had others only."""
    try:
        record = _records(folder)[_fingerprint(config)]
        return Trial(**{field.name: record[field.name] for field in dataclasses.fields(Trial)})
    except (LookupError, TypeError):
        return Trial()


def _records(folder: Path) -> dict[str, Any]:
    """Returns a record for each config that a trial had, by the config's fingerprint."""
    try:
        records = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        if "config" in records:
            # Earlier versions kept the record of one config only.
            return {_fingerprint(records["config"]): records}
        return dict(records)
    except (FileNotFoundError, ValueError, TypeError):
        # Where the records are damaged, the trial is evaluated again.
        return {}


def _fingerprint(config: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def training_facts(folder: Path) -> dict[str, Any]:
    """Returns updates and seconds of a training, summed over its sessions, and what it ran on."""
    facts: dict[str, Any] = {}
    for entry in read_metrics(folder):
        if "train/seconds" in entry:
            # The run's own clock outlives a stop.
            facts |= {"updates": entry["step"], "training_seconds": entry["train/seconds"]}
    # Without a record of its sessions a run has its numbers still.
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        record = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
        facts["ran"] = sorted({_session(session) for session in record["sessions"]})
    return facts


def _session(session: Mapping[str, Any]) -> str:
    devices = ", ".join(f"{device['count']} x {device['kind']}" for device in session["devices"])
    commit = (session["commit"] or "unknown")[:10] + (" (changed)" if session["dirty"] else "")
    return (
        f"{session['started'][:10]}, {devices}, jax {session['packages']['jax']}, commit {commit}"
    )


def write_tables(workdir: Path, study: Study, trials: Mapping[str, Trial]) -> str:
    """Writes `results.csv`, with all columns, and `results.md`; returns the latter."""
    workdir.mkdir(parents=True, exist_ok=True)
    rows = [
        {"trial": name, "split": split, "outcome": trial.outcome, **_values(trial, split)}
        for name, trial in trials.items()
        for split in study.splits
    ]
    signatures = sorted({key for row in rows for key in row if key.endswith("_signature")})
    text = io.StringIO()
    columns = ["trial", "split", "outcome", *COLUMNS, *signatures]
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    replace_file(workdir / "results.csv", text.getvalue())
    markdown = _markdown(study, trials, rows, signatures)
    replace_file(workdir / "results.md", markdown)
    return markdown


def _values(trial: Trial, split: str) -> dict[str, Any]:
    values = {**trial.training, **trial.splits.get(split, {})}
    if values.get("decoding_seconds"):
        speed = values["output_tokens"] / values["decoding_seconds"]
        values["output_tokens_per_second"] = round(speed, 1)
    return {key: value for key, value in values.items() if key not in ("workdir", "split")}


def _markdown(study: Study, trials: Mapping[str, Trial], rows, signatures: list[str]) -> str:
    columns = ["trial"]
    if len(study.splits) > 1:
        columns.append("split")
    columns += study.columns
    if not all(trial.done for trial in trials.values()):
        columns.append("outcome")
    lines = [
        f"# {study.name}",
        "",
        "| " + " | ".join(column.replace("_", " ") for column in columns) + " |",
        "|" + "---|" * len(columns),
    ]
    for row in rows:
        cells = (_cell(column, row.get(column)) for column in columns)
        lines.append("| " + " | ".join(cells) + " |")
    if len(study.splits) == 1:
        lines += ["", f"Split: {study.splits[0]}."]
    for key in signatures:
        name = key.removesuffix("_signature")
        found = sorted({row[key] for row in rows if key in row})
        if name in study.columns:
            lines += ["", f"{name}: " + ", ".join(f"`{signature}`" for signature in found)]
    ran = sorted({line for trial in trials.values() for line in trial.training.get("ran", ())})
    lines += ["", *(f"- {line}" for line in ran)] if ran else []
    return "\n".join(lines) + "\n"


def _cell(column: str, value: Any) -> str:
    if value is None:
        return _UNKNOWN
    if isinstance(value, str):
        return value.replace("|", "\\|")
    return _FORMATS.get(column, "{:.2f}").format(value)
