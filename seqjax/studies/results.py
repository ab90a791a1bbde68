"""What came of the trials of a study: their order, their groups, and how numbers are written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seqjax.invocation import command_line
from seqjax.studies.study import COLUMNS, TrialSpec
from seqjax.studies.trial import Trial

_FORMATS = {
    "parameters": "{:,.0f}",
    "updates": "{:,.0f}",
    "training_seconds": "{:,.0f}",
    "loss": "{:.3f}",
    "bits_per_character": "{:.3f}",
    "bits_per_byte": "{:.3f}",
    "output_tokens": "{:,.0f}",
    "decoding_seconds": "{:,.1f}",
    "output_tokens_per_second": "{:,.0f}",
}
_UNKNOWN = "–"
_LARGE = 1e5


class Result(NamedTuple):
    """A trial and what came of it.

    Attributes:
      name: of the trial and its folder.
      fields: the values of the fields in which the trials of the study differ.
      source: the value of `--config` that trains it, with `options` after it.
      options: overrides as the command line has them.
      trial: what is known of it.
      value: its objective, None if there is none.
      state: 'running', 'waiting', 'complete', ... in the storage, '' if unknown.
      identity: the fingerprint of its config, by which its folder keeps its record.
    """

    name: str
    fields: Mapping[str, Any]
    source: str
    options: tuple[str, ...]
    trial: Trial
    value: float | None
    state: str = ""
    identity: str = ""

    @property
    def running(self) -> bool:
        """Whether it is being trained or evaluated."""
        return self.state == "running" and not self.trial.done and not self.trial.failure

    @property
    def outcome(self) -> str:
        """What became of it, in words."""
        if not self.running:
            return self.trial.outcome
        steps = [step for curve in self.trial.curves.values() for step, _ in curve]
        last = max([self.trial.training.get("updates", 0), *steps])
        return f"running, step {last:,}" if last else "running"


class Group(NamedTuple):
    """Trials that may be compared with each other, the best first.

    Attributes:
      values: what they share, by the fields that the study is grouped by.
      results: from the best to the worst.
    """

    values: Mapping[str, Any]
    results: Sequence[Result]


def as_result(
    spec: TrialSpec, trial: Trial, value: float | None, state: str = "", identity: str = ""
) -> Result:
    """Returns what came of a trial."""
    return Result(spec.name, spec.fields, spec.source, spec.options, trial, value, state, identity)


def ranked(higher: bool, results: Sequence[Result]) -> list[Result]:
    """Returns trials from the best to the worst.

    Those that are not done come after those that are: first the ones with a value, then the others.
    """

    def place(result: Result) -> tuple[bool, bool, float]:
        value = result.value or 0.0
        return (result.value is None, not result.trial.done, -value if higher else value)

    return sorted(results, key=place)


def best(higher: bool, results: Sequence[Result]) -> Result | None:
    """Returns the best of the trials that are done, None if there is none."""
    done = [result for result in results if result.trial.done and result.value is not None]
    return ranked(higher, done)[0] if done else None


def grouped(higher: bool, by: Sequence[str], results: Sequence[Result]) -> list[Group]:
    """Returns the trials that have the same values of some fields together, each group ranked.

    Groups stand in the order of their first trials. Without fields there is one group.
    """
    groups: dict[tuple, list[Result]] = {}
    for result in results:
        groups.setdefault(tuple(result.fields.get(field) for field in by), []).append(result)
    return [
        Group({f: v for f, v in zip(by, values, strict=True) if v is not None}, ranked(higher, own))
        for values, own in groups.items()
    ]


def varied(results: Sequence[Result], merged: bool = True) -> dict[str, list[str]]:
    """Returns the fields in which trials differ, each with those that change along with it.

    Fields that distinguish the same trials are one column, headed by the first of them: an
    architecture differs from another in dozens. What takes others along comes first, what differs
    in every trial last.

    Args:
      results: the trials that are compared.
      merged: whether fields that change together are one column.
    """
    fields = dict.fromkeys(field for result in results for field in result.fields)
    patterns: dict[tuple, list[str]] = {}
    for field in fields:
        values = [repr(result.fields.get(field)) for result in results]
        if len(set(values)) > 1 or not merged:
            pattern = tuple(values.index(value) for value in values)
            patterns.setdefault(pattern if merged else (field,), []).append(field)
    order = list(patterns)
    if merged:
        order.sort(key=lambda p: (len(set(p)) == len(p), -len(patterns[p])))
    # Of fields that change together, the kind of a layer says most.
    together = (sorted(patterns[p], key=lambda field: not field.endswith(".kind")) for p in order)
    return {alike[0]: alike for alike in together}


def repeat(result: Result, workdir: Path) -> str:
    """Returns the command that trains a trial again, in another folder."""
    folder = workdir / f"{result.name}-again"
    command = ["train", f"--config={result.source}", f"--workdir={folder}", *result.options]
    return command_line(command)


def split_values(trial: Trial, split: str) -> dict[str, Any]:
    """Returns what is known of a trial on a split, by the names in `COLUMNS`."""
    values = {**trial.training, **trial.splits.get(split, {})}
    if values.get("decoding_seconds"):
        speed = values["output_tokens"] / values["decoding_seconds"]
        values["output_tokens_per_second"] = round(speed, 1)
    return {key: value for key, value in values.items() if key not in ("workdir", "split")}


def format_value(column: str, value: Any) -> str:
    """Returns a value with the digits that a reader needs; an unknown column is a field."""
    if value is None:
        return _UNKNOWN
    if isinstance(value, bool | str | tuple):
        return ",".join(value) if isinstance(value, tuple) else str(value)
    if column not in COLUMNS:
        return str(value) if isinstance(value, int) else f"{value:.4g}"
    form = _FORMATS.get(column, "{:.2f}")
    # The last digits of a loss that diverged say nothing.
    whole = form.endswith(".0f}")
    return form.format(value) if whole or abs(value) < _LARGE else f"{value:.3g}"
