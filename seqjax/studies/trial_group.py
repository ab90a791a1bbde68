"""Trials that are trained as one program, and then evaluated by one process."""

import json
import math
import threading
from collections.abc import Callable, Mapping, Sequence

from seqjax.errors import UserError
from seqjax.studies.study import TrialSpec
from seqjax.studies.trial import Trial
from seqjax.studies.trial_run import Launch, TrialRun, reason
from seqjax.training.members import program_key_of, refusal
from seqjax.training.saved import newest_checkpoint

Show = Callable[[str], None]

# Exit code of a training that goes on without some of its members, which it names.
_SOME_DIVERGED = 1
# The largest group of --vectorize=auto: the states of all members are in memory at once.
_MOST = 16


def check_vectorize(vectorize: str, searched: bool) -> None:
    """Raises UserError if `--vectorize` is invalid, or a number for a search."""
    if vectorize not in ("auto", "off") and not (vectorize.isdecimal() and int(vectorize)):
        raise UserError(f"--vectorize={vectorize}: expected 'auto', 'off', or a number from 1")
    if searched and vectorize.isdecimal():
        raise UserError(
            f"--vectorize={vectorize}: the trials of a search are drawn one after the other;"
            " expected 'auto' or 'off', which both run each by itself"
        )


def program_groups(
    specs: Mapping[str, TrialSpec], vectorize: str, workers: int = 1
) -> list[list[str]]:
    """Returns the groups of trials that are trained as one program, in order; most have one.

    Args:
      specs: trials that are in the same state, by name.
      vectorize: how many at most, or 'auto': as many as leave work for every worker, up to 16;
        'off' for none.
      workers: trials or groups that run at a time.
    """
    alike: dict[str, list[str]] = {}
    for name, spec in specs.items():
        alone = vectorize == "off" or refusal(spec.values)
        alike.setdefault(name if alone else program_key_of(spec.values), []).append(name)
    groups = []
    for names in alike.values():
        most = min(_MOST, math.ceil(len(names) / workers))
        size = most if vectorize == "auto" else 1 if vectorize == "off" else int(vectorize)
        groups += [names[start : start + size] for start in range(0, len(names), size)]
    return groups


def groups_of(trials: Sequence[TrialRun], vectorize: str, workers: int) -> list[list[str]]:
    """Returns which of the trials that are to be run are in one of `program_groups`.

    The members of a program are at the same step, so trials at different steps are not grouped.
    """
    alike: dict[tuple[str, int], dict[str, TrialSpec]] = {}
    for trial in trials:
        state = trial.state()
        if state.startswith("to "):
            place = state, newest_checkpoint(trial.folder)
            alike.setdefault(place, {})[trial.spec.name] = trial.spec
    return [
        group for specs in alike.values() for group in program_groups(specs, vectorize, workers)
    ]


def vectorize_hint(trials: Sequence[TrialRun]) -> str:
    """Says how many of the trials could share how many programs, '' for none."""
    groups = [group for group in groups_of(trials, "auto", 1) if len(group) > 1]
    if not groups:
        return ""
    count, programs = sum(map(len, groups)), f"{len(groups)} programs"
    programs = "one program" if len(groups) == 1 else programs
    return f"{count} trials differ in numbers only: --vectorize=auto trains them as {programs}"


class TrialGroup:
    """Runs trials together; if that fails, runs each alone, so that a failure concerns one trial.

    Attributes:
      runs: the trials, which are stopped together.
    """

    def __init__(self, runs: Sequence[TrialRun], splits: Sequence[str]):
        self.runs = runs
        self._splits = splits
        self._stop = threading.Event()
        for run in runs:
            run.stop = self._stop

    def commands(self) -> list[list[str]]:
        """Returns the arguments of the verbs that train and evaluate the trials, in order."""
        return [self._command(split, self.runs) for split in (None, *self._splits)]

    def run(self, launch: Launch, said: Callable[[Sequence[TrialRun]], Show]) -> int:
        """Trains and evaluates; returns the number of the signal that ended it, or 0.

        `said` returns what shows the lines of a process that runs some of the trials.
        """
        left = list(self.runs)
        found: dict[str, dict] = {run.spec.name: {} for run in left}
        for split in (None, *self._splits):
            command, show = self._command(split, left), said(left)
            self._enter(" ".join(filter(None, (command[0], split))))
            outcome = launch(command, self._stop, show)
            self._enter("")
            if outcome.signal or self._stop.is_set():
                return outcome.signal
            # An error that nobody expected leaves with the same code, and says nothing there.
            if split is None and outcome.code == _SOME_DIVERGED and outcome.output:
                left = self._without(left, json.loads(outcome.output))
            elif outcome.code:
                show(f"together they failed ({reason(command[0], outcome)}): each is run by itself")
                return self._one_by_one(left, launch, said)
            elif split is not None:
                for name, facts in json.loads(outcome.output).items():
                    found[name][split] = facts
            if not left:
                break
        for run in left:
            run.record_evaluated(found[run.spec.name])
        return 0

    def _command(self, split: str | None, runs: Sequence[TrialRun]) -> list[str]:
        """Returns the arguments that train trials, or evaluate them on a split."""
        first = runs[0]
        names = f"--together={','.join(run.spec.name for run in runs)}"
        workdir = f"--workdir={first.folder.parent}"
        if split is not None:
            return ["evaluate", workdir, names, f"--split={split}"]
        path = first.spec.source.removesuffix(f":{first.spec.name}")
        return ["train", f"--config={path}", names, "--members=auto", workdir, *first.spec.options]

    def _without(self, runs: Sequence[TrialRun], failures: Mapping[str, str]) -> list[TrialRun]:
        """Records the trials whose training failed; returns the others."""
        for run in runs:
            if run.spec.name in failures:
                run.record(Trial(failure=failures[run.spec.name]))
        return [run for run in runs if run.spec.name not in failures]

    def _enter(self, phase: str) -> None:
        for run in self.runs:
            run.phase = phase

    def _one_by_one(
        self, runs: Sequence[TrialRun], launch: Launch, said: Callable[[Sequence[TrialRun]], Show]
    ) -> int:
        for run in runs:
            stopped_by = run.run(launch, said([run]))
            if stopped_by or self._stop.is_set():
                return stopped_by
        return 0
