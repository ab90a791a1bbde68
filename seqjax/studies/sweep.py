"""Runs the trials of a study, several at a time, each in its own run directory."""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import logging
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqjax.errors import UserError
from seqjax.files import in_bucket, run_path, size
from seqjax.reporting.metrics_log import FILE as METRICS
from seqjax.stages import stage
from seqjax.studies.board import Board
from seqjax.studies.page import PAGE, write_study_page
from seqjax.studies.results import Result, as_result
from seqjax.studies.sampling import Rules
from seqjax.studies.search import Search
from seqjax.studies.snapshot import Snapshot, take_snapshot, write_snapshot
from seqjax.studies.space import domain_of
from seqjax.studies.study import AnyStudy, Overrides
from seqjax.studies.sweep_lines import drawn, ending, last_lines, running, time_left
from seqjax.studies.tables import write_tables
from seqjax.studies.trial import Trial, as_trial
from seqjax.studies.trial_group import TrialGroup, groups_of, vectorize_hint
from seqjax.studies.trial_queue import Claim, Offer, Standing, TrialQueue
from seqjax.studies.trial_run import Launch, TrialRun
from seqjax.training.saved import newest_checkpoint

log = logging.getLogger(__name__)

# Seconds between looks at the running trials, and between requests for work.
_LOOK = 0.5
_ASK = 2.0
_OPEN = ("waiting", "running")
_NOTHING = Standing()


@dataclasses.dataclass
class _Seat:
    """A trial that runs here."""

    claim: Claim
    run: TrialRun
    place: str
    # The step that it goes on from.
    start: int
    # When it last sent a heartbeat to the storage.
    beat: float = -math.inf
    # Size of its metrics when they were last read.
    seen: int = -1
    pruned: bool = False
    curves: dict[str, list[tuple[int, float]]] = dataclasses.field(default_factory=dict)


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
        self._seats: dict[concurrent.futures.Future, list[_Seat]] = {}
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
            self._together = {name: group for group in self.groups(names) for name in group}
            try:
                with concurrent.futures.ThreadPoolExecutor(self._workers) as threads:
                    try:
                        stopped_by = self._work(threads)
                    finally:
                        for seat in itertools.chain(*self._seats.values()):
                            seat.run.stop.set()
            except BaseException:
                self._release()
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
                    begun = self._take_seats(threads)
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
            done, _ = concurrent.futures.wait(
                self._seats, _LOOK, concurrent.futures.FIRST_COMPLETED
            )
            for future in done:
                for seat in self._seats[future]:
                    stopped_by = self._leave(seat, future.result()) or stopped_by
                del self._seats[future]
                asked, ended = -math.inf, True
            for seat in itertools.chain(*self._seats.values()):
                self._look(seat)
            self._show()

    def _release(self) -> None:
        """Gives up the trials of a sweep that an error ends: the next one need not wait."""
        # An error of the storage must not hide the first one.
        with contextlib.suppress(UserError):
            self._queue.given_up = lambda: True
            for seat in itertools.chain(*self._seats.values()):
                self._queue.finish(seat.claim, {})

    def _waiting(self) -> list[str]:
        """Returns the trials that wait or run, here or elsewhere."""
        return [name for name in self._names if self._standing(name).state in _OPEN]

    def _take_seats(self, threads: concurrent.futures.ThreadPoolExecutor) -> bool:
        """Claims as many trials as can run here; returns whether one has begun."""
        before = len(self._seats)
        seats = list(itertools.chain(*self._seats.values()))
        # After a laptop's sleep the heartbeats of the trials here are long overdue.
        for seat in seats:
            self._beat(seat)
        self._queue.revive()
        taken = {seat.claim.name for seat in seats}
        while len(self._seats) < self._workers:
            claim = self._queue.claim([name for name in self._names if name not in taken])
            if claim is None:
                break
            self._know(claim.name, claim.point)
            run, place = self.trial(claim.name), self._place(claim.name)
            state = run.state()
            if state == "done":
                self._finish(claim, run.recorded())
                self._board.say(f"{place}: done before")
                continue
            if state.startswith("to "):
                again = ", tried again" if claim.attempt else ""
                self._board.say(
                    f"{place}: {state.removeprefix('to ')}{again}{drawn(self.study, claim.point)}"
                )
            seats = [self._seat(claim, run, place), *self._join(claim.name)]
            if len(seats) > 1:
                group = TrialGroup([seat.run for seat in seats], self.study.splits)
                future = threads.submit(group.run, self._launch, self._said)
            else:
                future = threads.submit(run.run, self._launch, self._said([run]))
            self._seats[future] = seats
        self._look_up()
        return len(self._seats) > before

    def _join(self, first: str) -> list[_Seat]:
        """Claims the unclaimed trials that are trained as one program with a trial."""
        seats = []
        for name in self._together.get(first, ()):
            claim = self._queue.claim([name]) if name != first else None
            if claim:
                place = self._place(name)
                self._board.say(f"{place}: as one program with {first}")
                seats.append(self._seat(claim, self.trial(name), place))
        return seats

    def _seat(self, claim: Claim, run: TrialRun, place: str) -> _Seat:
        return _Seat(claim, run, place, newest_checkpoint(run.folder))

    def _said(self, runs: Sequence[TrialRun]) -> Callable[[str], None]:
        folders = [run.folder for run in runs]
        return lambda line: self._board.said(folders, line)

    def _look(self, seat: _Seat) -> None:
        """Reports a trial's progress to the storage; ends the trial if it is pruned."""
        if seat.run.stop.is_set():
            return
        if time.monotonic() - seat.beat > self._queue.beat_seconds:
            self._beat(seat)
        now_there = size(seat.run.folder / METRICS)
        if now_there == seat.seen:
            return
        seat.seen, seat.curves = now_there, seat.run.curves()
        if not isinstance(self.study, Search):
            return
        values = [value for _, value in seat.curves.get(self.study.objective, ())]
        if self._queue.report(seat.claim, values) and seat.run.phase == "train":
            seat.pruned = True
            seat.run.stop.set()

    def _beat(self, seat: _Seat) -> None:
        """Sends a heartbeat; ends the trial if another worker has taken it."""
        if seat.run.stop.is_set():
            return
        seat.beat = time.monotonic()
        further = newest_checkpoint(seat.run.folder) > seat.start
        if not self._queue.beat(seat.claim, further):
            self._board.say(f"{seat.place}: another worker has it, since this one was silent")
            seat.run.stop.set()

    def _leave(self, seat: _Seat, stopped_by: int) -> int:
        """Records a trial that has stopped; returns the signal that ended it, or 0."""
        if stopped_by or (seat.run.stop.is_set() and not seat.pruned):
            # Another worker may continue it; if one does already, this changes nothing.
            self._queue.finish(seat.claim, {})
        elif seat.pruned:
            seat.run.record_pruned()
            self._finish(seat.claim, seat.run.recorded())
        else:
            # Reads what came after the last look.
            self._look(seat)
            self._finish(seat.claim, seat.run.recorded())
        if seat.run.unwritten:
            self._unwritten[seat.claim.name] = seat.run.unwritten
        self._look_up()
        if not stopped_by and (seat.pruned or not seat.run.stop.is_set()):
            ended = ending(self.study, seat.run.recorded())
            self._board.say(f"{seat.place}: {ended}{self._time_left()}")
        return stopped_by

    def _finish(self, claim: Claim, trial: Trial) -> None:
        value, failure = self.study.value(trial), trial.failure
        unknown = not failure and value is None
        if unknown and isinstance(self.study, Search):
            failure = f"{self.study.objective} was never measured"
        # Optuna has no other name for what is finished without a value.
        pruned = bool(trial.pruned) or unknown
        self._queue.finish(claim, dataclasses.asdict(trial), value, pruned, failure)

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
            for seat in itertools.chain(*self._seats.values())
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
