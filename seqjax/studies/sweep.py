"""Runs the trials of a study one after the other, each in a run directory of its own."""

import dataclasses
import json
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_collections

from seqjax.errors import UserError
from seqjax.fields import flatten, load
from seqjax.files import run_path
from seqjax.studies.processes import Outcome
from seqjax.studies.results import Trial, read_trial, training_facts, write_tables, write_trial
from seqjax.studies.study import Study

# What may differ from the config that a run was begun with: its parameters stay what they are.
_AFTER_TRAINING = ("decode.", "evaluation.")


class Sweep:
    """A study in a folder: `TRIAL/` is the run of a trial, `results.md` and `.csv` the table.

    A finished trial is not repeated, an interrupted one goes on, a failed one is tried again. A run
    that was begun with another config is refused: its numbers would be those of no config.
    """

    def __init__(
        self,
        study: Study,
        path: str,
        workdir: str | Path,
        overrides: Sequence[tuple[str, str]],
        launch: Callable[[Sequence[str]], Outcome],
    ):
        """Checks the configs of all trials.

        Args:
          study: what to run.
          path: its file, which each training reads by itself.
          workdir: the folder of the study.
          overrides: fields that every trial has otherwise than its config.
          launch: runs a verb with its arguments and waits, as `processes.launch` does.

        Raises:
          UserError: some trial cannot have what the overrides say.
        """
        self.study = study
        self.configs = study.configs(overrides)
        self._path = path
        self._workdir = run_path(workdir)
        self._options = [f"--config.{field}={text}" for field, text in overrides]
        self._launch = launch

    def commands(self, name: str) -> list[list[str]]:
        """Returns the arguments of the verbs that train and evaluate a trial, in order."""
        workdir = f"--workdir={self._workdir / name}"
        train = ["train", f"--config={self._path}:{name}", workdir, *self._options]
        return [train, *(["evaluate", workdir, f"--split={s}"] for s in self.study.splits)]

    def state(self, name: str) -> str:
        """Returns what is to be done: 'done', 'to train', 'to continue' or 'refused: REASON'."""
        if self._recorded(name).done:
            return "done"
        refusal = self._refusal(name)
        begun = (self._workdir / name / "checkpoints").is_dir()
        return f"refused: {refusal}" if refusal else "to continue" if begun else "to train"

    def run(self, names: Sequence[str]) -> int:
        """Runs trials in order and writes the tables after each.

        Returns:
          0 when all of them are done, 1 when some failed, 128 + n when signal n ended it.
        """
        failed = 0
        for number, name in enumerate(names, start=1):
            place = f"[{number}/{len(names)}] {name}"
            state = self.state(name)
            if state == "done":
                _say(f"{place}: done before")
                continue
            if state.startswith("to "):
                _say(f"{place}: {state.removeprefix('to ')}")
            stopped_by = self._run_trial(name)
            self.write()
            if stopped_by:
                _say(f"{signal.Signals(stopped_by).name}: continue with the same command")
                return 128 + stopped_by
            failure = self._recorded(name).failure
            failed += bool(failure)
            _say(f"{place}: failed: {failure}" if failure else f"{place}: done")
        self.write()
        if failed:
            _say(f"{failed} of {len(names)} trials failed")
        return 1 if failed else 0

    def write(self) -> str:
        """Writes `results.md` and `results.csv`; returns the former."""
        trials = {name: self._recorded(name) for name in self.configs}
        return write_tables(self._workdir, self.study, trials)

    def _run_trial(self, name: str) -> int:
        """Trains and evaluates; returns the number of the signal that ended it, or 0."""
        found: dict[str, Any] = {}
        failure = self._refusal(name)
        train, *evaluations = self.commands(name)
        for split, command in zip((None, *self.study.splits), (train, *evaluations), strict=True):
            if failure:
                break
            outcome = self._launch(command)
            if outcome.signal:
                return outcome.signal
            if outcome.code:
                failure = _reason(command[0], outcome)
            elif split is None:
                # A training reads the file by itself, perhaps long after the sweep did.
                failure = self._difference(name, f"{self._path} was changed while the sweep ran")
            else:
                found[split] = json.loads(outcome.output)
        if failure:
            self._record(name, Trial(failure=failure))
        else:
            self._record(name, Trial(training_facts(self._workdir / name), found))
        return 0

    def _refusal(self, name: str) -> str:
        """Says why a trial cannot go on in its run directory, '' where it can."""
        # What a start left that saved no step binds nobody.
        steps = (self._workdir / name / "checkpoints").glob("*")
        if not any(entry.name.isdigit() for entry in steps):
            return ""
        return self._difference(name, "choose another --workdir", _AFTER_TRAINING)

    def _difference(self, name: str, advice: str, but: tuple[str, ...] = ()) -> str:
        """Says which field a run has otherwise than its trial, '' where none."""
        folder = self._workdir / name
        try:
            saved = flatten(load(folder / "config.json", missing="default"))
        except UserError as error:
            return str(error)
        wanted = flatten(self.configs[name])
        fields = [
            field
            for field, value in wanted.items()
            if saved[field] != value and not field.startswith(but)
        ]
        if not fields:
            return ""
        first, others = fields[0], len(fields) - 1
        more = f" ({others} more field{'s differ' if others > 1 else ' differs'})" if others else ""
        return (
            f"{first} is {wanted[first]!r}, but the run in {folder} has {saved[first]!r}"
            f"{more}: {advice}"
        )

    def _record(self, name: str, trial: Trial) -> None:
        write_trial(self._workdir / name, _plain(self.configs[name]), trial)

    def _recorded(self, name: str) -> Trial:
        """Returns what is known of a trial with the config that it has now."""
        trial = read_trial(self._workdir / name, _plain(self.configs[name]))
        if set(self.study.splits) <= set(trial.splits):
            # What failed may have been another split.
            return dataclasses.replace(trial, failure="")
        return Trial(failure=trial.failure)


def _plain(config: ml_collections.ConfigDict) -> Mapping[str, Any]:
    """Returns a config as JSON gives it back."""
    return json.loads(json.dumps(config.to_dict()))


def _reason(verb: str, outcome: Outcome) -> str:
    """Says in one line why a verb failed."""
    number = -outcome.code if outcome.code < 0 else outcome.code - 128
    if number in list(signal.Signals):
        return f"{verb} was stopped by {signal.Signals(number).name}"
    reason = outcome.complaint.removeprefix("seqjax: error: ")
    return reason or f"{verb} left with exit code {outcome.code}"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
