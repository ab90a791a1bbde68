"""The trials that run here: claimed from the queue, watched, and recorded or given back."""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from seqjax.errors import UserError
from seqjax.files import size
from seqjax.reporting.metrics_log import FILE as METRICS
from seqjax.studies.board import Board
from seqjax.studies.search import Search
from seqjax.studies.study import AnyStudy
from seqjax.studies.sweep_lines import drawn
from seqjax.studies.trial import Trial
from seqjax.studies.trial_group import TrialGroup
from seqjax.studies.trial_queue import Claim, TrialQueue
from seqjax.studies.trial_run import Launch, TrialRun
from seqjax.training.saved import newest_checkpoint


@dataclasses.dataclass
class Seat:
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


class Seats:
    """Room for some programs, each of which runs a trial, or several as one.

    Iteration yields the trials that run; the length is the number of their programs.
    """

    def __init__(
        self,
        study: AnyStudy,
        queue: TrialQueue,
        board: Board,
        launch: Launch,
        workers: int,
        together: Mapping[str, Sequence[str]],
        known: Callable[[Claim], TrialRun],
        place: Callable[[str], str],
    ):
        """Claims nothing yet.

        Args:
          study: what the trials are of.
          queue: where they are claimed.
          board: where their progress is shown.
          launch: runs a verb with its arguments and waits.
          workers: programs that run at a time.
          together: by name, the trials that are trained as one program with a trial.
          known: returns the run of a trial that has been claimed.
          place: returns what a trial is called on the board.
        """
        self._study, self._queue, self._board, self._launch = study, queue, board, launch
        self._workers, self._together = workers, together
        self._known, self._place = known, place
        self._running: dict[concurrent.futures.Future, list[Seat]] = {}

    def __iter__(self) -> Iterator[Seat]:
        return itertools.chain(*self._running.values())

    def __len__(self) -> int:
        return len(self._running)

    def take(self, threads: concurrent.futures.ThreadPoolExecutor, names: Sequence[str]) -> bool:
        """Claims as many of these trials as can run here; returns whether one has begun."""
        before = len(self)
        # After a laptop's sleep the heartbeats of the trials here are long overdue.
        for seat in self:
            self._beat(seat)
        self._queue.revive()
        taken = {seat.claim.name for seat in self}
        while len(self) < self._workers:
            claim = self._queue.claim([name for name in names if name not in taken])
            if claim is None:
                break
            run, place = self._known(claim), self._place(claim.name)
            state = run.state()
            if state == "done":
                self._finish(claim, run.recorded())
                self._board.say(f"{place}: done before")
                continue
            if state.startswith("to "):
                again = ", tried again" if claim.attempt else ""
                self._board.say(
                    f"{place}: {state.removeprefix('to ')}{again}{drawn(self._study, claim.point)}"
                )
            seats = [self._seat(claim, run, place), *self._join(claim.name)]
            if len(seats) > 1:
                group = TrialGroup([seat.run for seat in seats], self._study.splits)
                future = threads.submit(group.run, self._launch, self._said)
            else:
                future = threads.submit(run.run, self._launch, self._said([run]))
            self._running[future] = seats
        return len(self) > before

    def ended(self, seconds: float) -> Iterator[tuple[Seat, int]]:
        """Waits for a program to end; yields its trials, each with the signal that ended it, or 0.

        They leave their seats when all of them have been recorded.
        """
        done, _ = concurrent.futures.wait(
            self._running, seconds, concurrent.futures.FIRST_COMPLETED
        )
        for future in done:
            for seat in self._running[future]:
                yield seat, future.result()
            del self._running[future]

    def look(self, seat: Seat) -> None:
        """Reports a trial's progress to the storage; ends the trial if it is pruned."""
        if seat.run.stop.is_set():
            return
        if time.monotonic() - seat.beat > self._queue.beat_seconds:
            self._beat(seat)
        now_there = size(seat.run.folder / METRICS)
        if now_there == seat.seen:
            return
        seat.seen, seat.curves = now_there, seat.run.curves()
        if not isinstance(self._study, Search):
            return
        values = [value for _, value in seat.curves.get(self._study.objective, ())]
        if self._queue.report(seat.claim, values) and seat.run.phase == "train":
            seat.pruned = True
            seat.run.stop.set()

    def record(self, seat: Seat, stopped_by: int) -> bool:
        """Reports a trial that has stopped to the queue; returns whether it has come to its end."""
        if stopped_by or (seat.run.stop.is_set() and not seat.pruned):
            # Another worker may continue it; if one does already, this changes nothing.
            self._queue.finish(seat.claim, {})
            return False
        if seat.pruned:
            seat.run.record_pruned()
        else:
            # Reads what came after the last look.
            self.look(seat)
        self._finish(seat.claim, seat.run.recorded())
        # The last look may have found that another worker has it.
        return seat.pruned or not seat.run.stop.is_set()

    def stop(self) -> None:
        """Ends all trials that run."""
        for seat in self:
            seat.run.stop.set()

    def release(self) -> None:
        """Gives up the trials of a sweep that an error ends: the next one need not wait."""
        # An error of the storage must not hide the first one.
        with contextlib.suppress(UserError):
            self._queue.given_up = lambda: True
            for seat in self:
                self._queue.finish(seat.claim, {})

    def _join(self, first: str) -> list[Seat]:
        """Claims the unclaimed trials that are trained as one program with a trial."""
        seats = []
        for name in self._together.get(first, ()):
            claim = self._queue.claim([name]) if name != first else None
            if claim:
                place = self._place(name)
                self._board.say(f"{place}: as one program with {first}")
                seats.append(self._seat(claim, self._known(claim), place))
        return seats

    def _seat(self, claim: Claim, run: TrialRun, place: str) -> Seat:
        return Seat(claim, run, place, newest_checkpoint(run.folder))

    def _said(self, runs: Sequence[TrialRun]) -> Callable[[str], None]:
        folders = [run.folder for run in runs]
        return lambda line: self._board.said(folders, line)

    def _beat(self, seat: Seat) -> None:
        """Sends a heartbeat; ends the trial if another worker has taken it."""
        if seat.run.stop.is_set():
            return
        seat.beat = time.monotonic()
        further = newest_checkpoint(seat.run.folder) > seat.start
        if not self._queue.beat(seat.claim, further):
            self._board.say(f"{seat.place}: another worker has it, since this one was silent")
            seat.run.stop.set()

    def _finish(self, claim: Claim, trial: Trial) -> None:
        value, failure = self._study.value(trial), trial.failure
        unknown = not failure and value is None
        if unknown and isinstance(self._study, Search):
            failure = f"{self._study.objective} was never measured"
        # Optuna has no other name for what is finished without a value.
        pruned = bool(trial.pruned) or unknown
        self._queue.finish(claim, dataclasses.asdict(trial), value, pruned, failure)
