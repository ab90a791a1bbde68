"""One trial in its run directory: it is trained and evaluated in processes, and recorded."""

import dataclasses
import json
import math
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from seqjax.duration import parse_duration
from seqjax.errors import UserError, passes
from seqjax.fields import flatten, load
from seqjax.stages import say
from seqjax.studies.launcher import Outcome
from seqjax.studies.study import AnyStudy, TrialSpec
from seqjax.studies.trial import Trial, read_curves, read_record, training_facts, write_trial
from seqjax.training.saved import has_checkpoint
from seqjax.validation import validate_fields

# Fields that may change after a run was begun: they do not affect its parameters.
_AFTER_TRAINING = ("decode.", "evaluation.", "data.test", "reporting.")
# A longer training continues a shorter one.
_DURATION = "train.duration"


class Launch(Protocol):
    """Runs a verb with its arguments and waits, as `processes.Launcher` does."""

    signal: int

    def __call__(
        self, arguments: Sequence[str], stop: threading.Event, show: Callable[[str], None]
    ) -> Outcome:
        """Returns how it ended."""


class TrialRun:
    """A trial that is, or may be, run here.

    A finished trial is not repeated, an interrupted one goes on, a failed one is tried again, and
    one with a longer `train.duration` than before trains further. A run that was begun with another
    config is refused: its numbers would belong to neither.

    Attributes:
      spec: the trial.
      folder: its run directory.
      phase: what is being done, 'train' or 'evaluate SPLIT', '' for nothing.
      stop: when it is set, the process that runs is ended and nothing is recorded.
      unwritten: its results, if its folder could not be written; None otherwise.
    """

    def __init__(self, spec: TrialSpec, workdir: Path, study: AnyStudy, path: str):
        self.spec, self.folder = spec, workdir / spec.name
        self.phase = ""
        self.stop = threading.Event()
        self.unwritten: Trial | None = None
        self._study, self._path = study, path

    def commands(self) -> list[list[str]]:
        """Returns the arguments of the verbs that train and evaluate the trial, in order."""
        splits = (f"--split={split}" for split in self._study.splits)
        evaluations = (["evaluate", f"--workdir={self.folder}", split] for split in splits)
        return [self.spec.training(self.folder), *evaluations]

    def state(self) -> str:
        """Returns what is to be done: 'done', 'to train', 'to continue' or 'refused: REASON'."""
        if self.recorded().done:
            return "done"
        refusal = self._refusal()
        begun = (self.folder / "checkpoints").is_dir()
        return f"refused: {refusal}" if refusal else "to continue" if begun else "to train"

    def run(self, launch: Launch, show: Callable[[str], None]) -> int:
        """Trains and evaluates; returns the number of the signal that ended it, or 0."""
        found: dict[str, Any] = {}
        failure = self._refusal() or _mistake(self.spec.values)
        for split, command in zip((None, *self._study.splits), self.commands(), strict=True):
            if failure:
                break
            self.phase = " ".join(filter(None, (command[0], split)))
            outcome = launch(command, self.stop, show)
            if outcome.signal or self.stop.is_set():
                return outcome.signal
            if outcome.code:
                failure = reason(command[0], outcome)
            elif split is None:
                # A training reads the file again, perhaps long after the sweep did.
                failure = self._change()
            else:
                found[split] = json.loads(outcome.output)
        self.phase = ""
        self.record(Trial(failure=failure) if failure else self._ended(splits=found))
        return 0

    def record_evaluated(self, splits: Mapping[str, Any]) -> None:
        """Records what `evaluate` printed for each split of a trial that was trained in a group."""
        failure = self._change()
        self.record(Trial(failure=failure) if failure else self._ended(splits=splits))

    def record_pruned(self) -> None:
        """Records the trial, which was pruned."""
        trial = self._ended()
        # It may have been evaluated before anything else was reported.
        steps = [step for curve in trial.curves.values() for step, _ in curve]
        last = max([trial.training.get("updates", 0), *steps])
        self.record(dataclasses.replace(trial, pruned=max(last, 1)))

    def record(self, trial: Trial) -> None:
        """Records the results of the trial; prints them if its folder cannot be written.

        Raises:
          OSError: the folder cannot be written now, but may be later, as on a full disk. The sweep
            stops; the next one evaluates the trial again.
        """
        try:
            write_trial(self.folder, self.spec.plain, trial)
        except OSError as error:
            self.unwritten = trial
            facts = f"; {json.dumps(trial.splits)}" if trial.splits else ""
            say(f"{self.folder}: results not written ({error.strerror or error}){facts}")
            if passes(error):
                raise

    def recorded(self) -> Trial:
        """Returns what is known of the trial with the config that it has now."""
        trial = self.unwritten or read_record(self.folder, self.spec.identity)
        if set(self._study.splits) <= set(trial.splits):
            # What failed, or was pruned, may have been another start.
            return dataclasses.replace(trial, failure="", pruned=0)
        kept = trial.training if trial.pruned else {}
        return dataclasses.replace(trial, training=kept, splits={})

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """Returns what was measured while training: the objective, and the loss."""
        return read_curves(self.folder, dict.fromkeys((self._study.objective, "loss")))

    def _ended(self, splits: Mapping[str, Any] | None = None) -> Trial:
        finite = {
            metric: [point for point in curve if math.isfinite(point[1])]
            for metric, curve in self.curves().items()
        }
        return Trial(training_facts(self.folder), splits or {}, curves=finite)

    def _refusal(self) -> str:
        """Says why the trial cannot go on in its run directory, '' if it can."""
        if not has_checkpoint(self.folder):
            return ""
        return self._difference("choose another --workdir", _AFTER_TRAINING)

    def _change(self) -> str:
        """Says what was changed in the study's file before the training read it; '' if none."""
        return self._difference(f"{self._path} was changed while the sweep ran")

    def _difference(self, advice: str, but: tuple[str, ...] = ()) -> str:
        """Says which field differs between the run and the trial, '' if none does."""
        try:
            saved = flatten(load(self.folder / "config.json", missing="default"))
        except UserError as error:
            return str(error)
        wanted = self.spec.values
        fields = [
            field
            for field, value in wanted.items()
            if saved[field] != value and not field.startswith(but)
        ]
        if but and _DURATION in fields and _is_longer(wanted[_DURATION], saved[_DURATION]):
            fields.remove(_DURATION)
        if not fields:
            return ""
        first, others = fields[0], len(fields) - 1
        more = f" ({others} more field{'s differ' if others > 1 else ' differs'})" if others else ""
        return (
            f"{first} = {wanted[first]!r}: expected {saved[first]!r}, as in the run in"
            f" {self.folder}{more}; {advice}"
        )


def _is_longer(duration: str, other: str) -> bool:
    """Returns whether one duration is known to be longer than another: both have one unit."""
    (number, unit), (before, others) = parse_duration(duration), parse_duration(other)
    return unit == others and number > before


def _mistake(values: Mapping[str, Any]) -> str:
    """Says which values of a search do not fit together, '' if all do."""
    try:
        validate_fields(values)
    except UserError as error:
        return str(error)
    return ""


def reason(verb: str, outcome: Outcome) -> str:
    """Says in one line why a verb failed."""
    number = -outcome.code if outcome.code < 0 else outcome.code - 128
    if number in list(signal.Signals):
        return f"{verb} was stopped by {signal.Signals(number).name}"
    complaint = outcome.complaint.removeprefix("seqjax: error: ")
    return complaint or f"{verb} left with exit code {outcome.code}"
