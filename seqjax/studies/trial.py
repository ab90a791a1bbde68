"""The results of a trial, kept in its run directory for each of its configs."""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seqjax.files import replace_file
from seqjax.reporting.metrics_log import read_metrics

_FILE = "results.json"
_VALIDATION = "validation/"

# (updates, value of a validation metric) of each evaluation while training.
Curve = Sequence[Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Trial:
    """The results of a trial.

    Attributes:
      training: `updates` and `training_seconds`, and what it ran on.
      splits: what `evaluate` printed for each split.
      failure: why it failed, '' if it did not.
      curves: what was measured while training, by the metric.
      pruned: the number of updates after which it was pruned; 0 if it was not.
    """

    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    splits: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    failure: str = ""
    curves: Mapping[str, Curve] = dataclasses.field(default_factory=dict)
    pruned: int = 0

    @property
    def done(self) -> bool:
        """Whether it was trained and evaluated."""
        return bool(self.splits)

    @property
    def outcome(self) -> str:
        """The result in words."""
        if self.failure:
            return f"failed: {self.failure}"
        if self.pruned:
            return f"pruned at step {self.pruned}"
        return "done" if self.done else "not run"


def write_trial(folder: Path, config: Mapping[str, Any], trial: Trial) -> None:
    """Writes the results of a trial into its run directory; results of other configs stay there.

    Results on other splits with the same config stay, too.
    """
    folder.mkdir(parents=True, exist_ok=True)
    before = read_trial(folder, config)
    trial = dataclasses.replace(
        trial,
        training=trial.training or before.training,
        splits={**before.splits, **trial.splits},
        curves=trial.curves or before.curves,
    )
    records = _records(folder)
    records[fingerprint(config)] = {"config": config, **dataclasses.asdict(trial)}
    replace_file(folder / _FILE, json.dumps(records, indent=2, ensure_ascii=False) + "\n")


def read_trial(folder: Path, config: Mapping[str, Any]) -> Trial:
    """Returns the results of a trial with this config; empty if there are none."""
    return read_record(folder, fingerprint(config))


def read_record(folder: Path, identity: str) -> Trial:
    """Returns the results of a trial whose config has this fingerprint."""
    try:
        return as_trial(_records(folder)[identity])
    except (LookupError, TypeError, AttributeError):
        return Trial()


def as_trial(record: Mapping[str, Any]) -> Trial:
    """Returns a trial from its fields; those that earlier versions did not keep are empty."""
    known = {field.name for field in dataclasses.fields(Trial)}
    return Trial(**{name: value for name, value in record.items() if name in known})


def _records(folder: Path) -> dict[str, Any]:
    """Returns a record for each config that a trial had, by the config's fingerprint."""
    try:
        records = json.loads((folder / _FILE).read_text(encoding="utf-8"))
        if "config" in records:
            # Earlier versions kept the record of one config only.
            return {fingerprint(records["config"]): records}
        return dict(records)
    except (FileNotFoundError, ValueError, TypeError):
        # If the records are damaged, the trial is evaluated again.
        return {}


def fingerprint(config: Mapping[str, Any]) -> str:
    """Returns a short string that differs between configs, each as JSON gives it back."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def training_facts(folder: Path) -> dict[str, Any]:
    """Returns updates and seconds of a training, summed over its sessions, and what it ran on."""
    facts: dict[str, Any] = {}
    for entry in read_metrics(folder):
        if "train/seconds" in entry:
            # The clock of a run continues after a stop.
            facts |= {"updates": entry["step"], "training_seconds": entry["train/seconds"]}
    # A run without a record of its sessions still has its numbers.
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


def read_curves(folder: Path, metrics: Sequence[str]) -> dict[str, list[tuple[int, float]]]:
    """Returns what was measured while training of each of the metrics that was."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for entry in read_metrics(folder):
        for metric in metrics:
            if _VALIDATION + metric in entry:
                point = entry["step"], float(entry[_VALIDATION + metric])
                curves.setdefault(metric, []).append(point)
    return curves
