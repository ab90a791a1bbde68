"""Runs the trials of a study, several at a time, each in its own run directory."""

import concurrent.futures
import contextlib
import dataclasses
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqjax.errors import UserError
from seqjax.files import in_bucket, run_path
from seqjax.stages import stage
from seqjax.studies.board import Board
from seqjax.studies.page import PAGE, write_study_page
from seqjax.studies.results import Result, as_result
from seqjax.studies.sampling import Rules
from seqjax.studies.search import Search
from seqjax.studies.seats import Seat, Seats
from seqjax.studies.snapshot import Snapshot, take_snapshot, write_snapshot
from seqjax.studies.space import domain_of
from seqjax.studies.study import AnyStudy, Overrides
from seqjax.studies.sweep_lines import ending, last_lines, running, time_left
from seqjax.studies.tables import write_tables
from seqjax.studies.trial import Trial, as_trial
from seqjax.studies.trial_group import TrialGroup, groups_of, vectorize_hint
from seqjax.studies.trial_queue import Claim, Offer, Standing, TrialQueue
from seqjax.studies.trial_run import Launch, TrialRun

log = logging.getLogger(__name__)

# Seconds between looks at the running trials, and between requests for work.
_LOOK = 0.5
_ASK = 2.0
_OPEN = ("waiting", "running")
_NOTHING = Standing()


class Sweep:
    """A study in a folder: `TRIAL/` is the run of a trial, `results.*` compare all.

    Any number of sweeps can share a study through its storage, on one or many machines; see
    `TrialQueue`.
    `TrialRun` runs a single trial.
    """

    def __init__(
        self,
        study: AnyStudy,
        path: str,
        workdir: str | Path,
        overrides: Overrides,
        launch: Launch,
        workers: int = 1,
        storage: str = "",
        lost_after: int = 120,
        vectorize: str = "off",
        names: Sequence[str] | None = None,
    ):
        """Checks the known configs of the trials to run.

        Args:
          study: what to run.
          path: its file, which each training reads by itself.
          workdir: the folder of the study.
          overrides: fields that are changed in every trial.
          launch: runs a verb with its arguments and waits, as `processes.Launcher` does.
          workers: trials that run at a time here.
          storage: URL of the database through which workers share the study; '' is a file in the
            folder.
          lost_after: seconds without a heartbeat after which a worker is considered dead.
          vectorize: how many trials of a list are trained as one program, see `program_groups`.
          names: the trials to run, by default all.

        Raises:
          UserError: the overrides do not fit some trial.
        """
        self.study = study
        with stage("checking the trials"):
            self.specs = study.specs(path, overrides, names)
        self._path, self._workdir, self._overrides = path, run_path(workdir), overrides
        self._launch, self._workers, self._storage = launch, workers, storage
        self._lost_after = lost_after
        # The trials of a search are drawn one after the other.
        self._vectorize = "off" if isinstance(study, Search) else vectorize
        self._standings: dict[str, Standing] = {}
        self._names: Sequence[str] = study.names
        self._unwritten: dict[str, Trial] = {}
        self._warned = False

    def trial(self, name: str) -> TrialRun:
        """Returns a trial whose config is known."""
        return TrialRun(self.specs[name], self._workdir, self.study, self._path)

    def vectorize_hint(self, names: Sequence[str]) -> str:
        """Says which of the trials that are to be run could share a program, '' for none."""
        unasked = self._vectorize == "off" and not isinstance(self.study, Search)
        return vectorize_hint(self._known(names)) if unasked else ""

    def groups(self, names: Sequence[str]) -> list[list[str]]:
        """Returns which of the trials that are to be run are trained as one program."""
        if self._vectorize == "off":
            return []
        return groups_of(self._known(names), self._vectorize, self._workers)

    def _known(self, names: Sequence[str]) -> list[TrialRun]:
        return [self.trial(name) for name in names if name in self.specs]

    def group(self, names: Sequence[str]) -> TrialGroup:
        """Returns trials that are trained as one program."""
        return TrialGroup([self.trial(name) for name in names], self.study.splits)

    def run(self, names: Sequence[str]) -> int:
        """Runs trials in order, and writes tables and page after each.

        Returns:
          0 when all of them are done, 1 when some failed, 128 + n when signal n ended it.

        Raises:
          UserError: the storage cannot be used, or holds another study of this name; or each trial
            that is not done was begun with another config.
        """
        self._refuse(names)
        self._names = names
        with _folder(self._workdir):
            self._queue = TrialQueue(
                self._storage,
                self._workdir,
                self.study.name,
                self._rules(),
                self._lost_after,
                given_up=lambda: bool(self._launch.signal),
            )
        with Board(self._workers > 1, self.study.objective) as self._board:
            self._enter()
            if hint := self.vectorize_hint(names):
                self._board.say(hint)
            self._seats = Seats(
                self.study,
                self._queue,
                self._board,
                self._launch,
                self._workers,
                {name: group for group in self.groups(names) for name in group},
                self._claimed,
                self._place,
            )
            try:
                with concurrent.futures.ThreadPoolExecutor(self._workers) as threads:
                    try:
                        stopped_by = self._work(threads)
                    finally:
                        self._seats.stop()
            except BaseException:
                self._seats.release()
                raise
        code = self._report_the_end(stopped_by)
        self.write()
        return code

    def _refuse(self, names: Sequence[str]) -> None:
        """Raises UserError, before any table changes, if no trial of a list could be run."""
        if isinstance(self.study, Search):
            return  # Its storage is checked instead.
        states = {trial.spec.name: trial.state() for trial in self._known(names)}
        left = {name: state for name, state in states.items() if state != "done"}
        if left and all(state.startswith("refused: ") for state in left.values()):
            first, *others = left
            more = f" ({len(others)} more likewise)" if others else ""
            raise UserError(f"trial {first!r}{more}: {left[first].removeprefix('refused: ')}")

    def results(self) -> list[Result]:
        """Returns what is known of each trial of the study."""
        found = []
        for name in self.study.names:
            if name in self.specs:
                spec, trial = self.specs[name], self._recorded(name)
                state, identity = self._standing(name).state, spec.identity
                if state == "running" and not trial.done:
                    trial = dataclasses.replace(trial, curves=self.trial(name).curves())
                value = self.study.value(trial)
                found.append(as_result(spec, trial, value, state, identity))
        return found

    def write(self) -> None:
        """Writes `results.md`, `results.csv`, `results.html`, and `study.json` for `report`."""
        snapshot = self._keep_snapshot()
        write_study_page(self._workdir / PAGE, self._workdir, snapshot)
        write_tables(self._workdir, snapshot)

    def _try_to_write(self, write: Callable[[], object]) -> None:
        """Writes while trials run; what cannot be written then is written, or raised, at the end.

        The error may be of the disk or of the plots; neither must end the trials.
        """
        try:
            write()
        except Exception as error:
            if not self._warned:
                log.warning(
                    "%s: results not written (%s: %s); the trials continue",
                    self._workdir,
                    type(error).__name__,
                    error,
                )
            self._warned = True

    def _keep_snapshot(self) -> Snapshot:
        """Writes `study.json`, and returns what it holds."""
        snapshot = take_snapshot(self.study, self.results(), self._rules().domains)
        write_snapshot(self._workdir, snapshot)
        return snapshot

    def _rules(self) -> Rules:
        study = self.study
        if isinstance(study, Search):
            draws = study.sampler == "tpe"
            judged = study.pruner, study.startup, study.seed
            return Rules(study.higher, study.space, draws, *judged)
        fields = next(iter(self.specs.values())).fields
        values = {field: [spec.fields[field] for spec in self.specs.values()] for field in fields}
        return Rules(study.higher, {field: domain_of(found) for field, found in values.items()})

    def _enter(self) -> None:
        """Puts the trials into the queue; reports those that are done."""
        study = self.study
        if isinstance(study, Search):
            self._queue.identify(study.identity(self._overrides))
            points = {name: spec.fields for name, spec in self.specs.items()}
            offers = {name: Offer(point=points.get(name, {})) for name in study.names}
        else:
            self._queue.identify({"study": {}})
            splits = ",".join(study.splits)
            offers = {
                name: Offer(f"{spec.identity} {splits}", spec.fields)
                for name, spec in self.specs.items()
            }
        self._queue.enter(offers, self._names, self._void())
        self._look_up()
        for name in self._names:
            if self._standing(name).state in ("complete", "pruned"):
                self._board.say(f"{self._place(name)}: {self._recorded(name).outcome} before")

    def _void(self) -> list[str]:
        """Returns the trials whose results are gone; a shared storage has its own copy of them."""
        if self._storage or isinstance(self.study, Search):
            return []
        return [name for name in self.specs if not self.trial(name).recorded().done]

    def _work(self, threads: concurrent.futures.ThreadPoolExecutor) -> int:
        """Runs trials until none is left; returns the number of the signal that ended it, or 0."""
        asked, stopped_by, reported = -math.inf, 0, False
        begun = ended = False
        self._begun, self._waited_for = time.monotonic(), len(self._waiting())
        while True:
            stopped_by = stopped_by or self._launch.signal
            if not stopped_by and len(self._seats) < self._workers:
                if time.monotonic() - asked > _ASK:
                    begun = self._seats.take(threads, self._names)
                    self._look_up()
                    asked = time.monotonic()
            if begun or ended:
                # Once for what has ended and what has begun since: it reads every trial.
                self._try_to_write(self.write if ended else self._keep_snapshot)
                begun = ended = False
            if not self._seats:
                waiting = self._waiting()
                if stopped_by or not waiting:
                    return stopped_by
                if not reported:
                    self._board.say(
                        f"waiting for {len(waiting)} trials of other workers, each considered"
                        f" dead after {self._lost_after} s without a heartbeat"
                    )
                    reported = True
                time.sleep(_LOOK)
            for seat, signal_number in self._seats.ended(_LOOK):
                self._record(seat, signal_number)
                stopped_by = signal_number or stopped_by
                asked, ended = -math.inf, True
            for seat in self._seats:
                self._seats.look(seat)
            self._show()

    def _waiting(self) -> list[str]:
        """Returns the trials that wait or run, here or elsewhere."""
        return [name for name in self._names if self._standing(name).state in _OPEN]

    def _record(self, seat: Seat, stopped_by: int) -> None:
        """Records a trial that has stopped, by a signal or not."""
        has_ended = self._seats.record(seat, stopped_by)
        if seat.run.unwritten:
            self._unwritten[seat.claim.name] = seat.run.unwritten
        self._look_up()
        if has_ended:
            ended = ending(self.study, seat.run.recorded())
            self._board.say(f"{seat.place}: {ended}{self._time_left()}")

    def _look_up(self) -> None:
        """Reads the states of all trials, and the values that were drawn for a search."""
        self._standings = self._queue.standings()
        for name, standing in self._standings.items():
            if isinstance(self.study, Search) and len(standing.point) == len(self.study.space):
                self._know(name, standing.point)

    def _know(self, name: str, point: Mapping[str, Any]) -> None:
        if name not in self.specs:
            spec = self.study.spec(self._path, name, point, self._overrides)
            self.specs[name] = spec

    def _claimed(self, claim: Claim) -> TrialRun:
        """Returns the run of a trial that has been claimed, with the values drawn for it."""
        self._know(claim.name, claim.point)
        return self.trial(claim.name)

    def _recorded(self, name: str) -> Trial:
        """Returns what is known of a trial, here or in the storage."""
        trial = self._unwritten.get(name) or self.trial(name).recorded()
        standing = self._standing(name)
        stored = bool(self._storage) or isinstance(self.study, Search)
        if trial.done or not standing.record or not stored:
            return trial
        return as_trial(standing.record)

    def _standing(self, name: str) -> Standing:
        return self._standings.get(name, _NOTHING)

    def _place(self, name: str) -> str:
        return f"[{self._names.index(name) + 1}/{len(self._names)}] {name}"

    def _time_left(self) -> str:
        left = len(self._waiting())
        return time_left(time.monotonic() - self._begun, self._waited_for - left, left)

    def _show(self) -> None:
        lines = [
            running(self.study, seat.claim.name, seat.run.phase, seat.curves)
            for seat in self._seats
        ]
        states = [self._standing(name).state for name in self._names]
        counts = (f"{states.count(state)} {state}" for state in sorted(set(states)))
        self._board.show(f"{self.study.name}: {', '.join(counts)}", lines)

    def _report_the_end(self, stopped_by: int) -> int:
        if stopped_by:
            self._board.say(f"{signal.Signals(stopped_by).name}: continue with the same command")
            return 128 + stopped_by
        failed = [self._standing(name).state for name in self._names].count("failed")
        for line in last_lines(self.study, self.results(), failed, len(self._names)):
            self._board.say(line)
        return 1 if failed else 0


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Makes a folder; one that an error leaves empty is removed again, with those around it."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            for folder in missing if not in_bucket(path) else ():
                folder.rmdir()
        raise
