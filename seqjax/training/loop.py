"""The training loop.

At every step s, from the first to the last, in this order:

    1. evaluate   if s is due
    2. save       if s is due, or was evaluated
    3. leave      if training is complete, stopped early, or told to stop (saved first)
    4. take       batch s, a pure function of the seed and s
    5. step       dispatch update s, then read what update s - 1 reported

A run that is killed and started again therefore goes on as if nothing had happened.
"""

import contextlib
import functools
import time
from collections.abc import Mapping
from pathlib import Path

import ml_collections
import numpy as np

from seqjax.data.loader import Loader
from seqjax.errors import UserError
from seqjax.evaluation.evaluator import Evaluator
from seqjax.parallel.mesh import distribute, own_rows
from seqjax.reporting.progress import Progress
from seqjax.training.interruption import Interruption
from seqjax.training.population import Population
from seqjax.training.preparation import Prepared
from seqjax.training.run import Run
from seqjax.training.state import TrainState
from seqjax.training.update import Update, abstract_batch

# Why a training ends by itself.
_COMPLETE, _EARLY = "complete", "stopped early"


class Training:
    """The state of a run, or of several that are trained as one program, and what they write.

    Attributes:
      runs: the run directories, in the order of the states in `state`.
      state: what `update` makes of it.
      active: bool [K], which of them go on.
    """

    def __init__(self, config: ml_collections.ConfigDict, prepared: Prepared, workdir: Path):
        """Opens one run; it begins, or goes on from its newest checkpoint."""
        update = Update(config, prepared)
        self._open(update, [Run(config, prepared, workdir, update.rates[0])], prepared)

    @classmethod
    def of_several(
        cls,
        configs: Mapping[str, ml_collections.ConfigDict],
        prepared: Prepared,
        workdir: Path,
        batched: bool = False,
    ) -> "Training":
        """Opens runs by their names, each in `workdir`/NAME; see `Population`.

        They go on from the newest step that all of them have saved.
        """
        update = Population(list(configs.values()), prepared, batched)
        runs = [
            Run(config, prepared, workdir / name, rate, name)
            for (name, config), rate in zip(configs.items(), update.rates, strict=True)
        ]
        training = cls.__new__(cls)
        training._open(update, runs, prepared)
        return training

    def _open(self, update: Update | Population, runs: list[Run], prepared: Prepared) -> None:
        self.update, self.runs, self.prepared = update, runs, prepared
        self.config = runs[0].config
        self.durations = prepared.durations
        # Built now: what is wrong with the validation shows before any work.
        self.evaluator = self._make_evaluator() if self.durations.evaluate else None
        self.state = self._restore_or_start()
        self.active = np.array([not run.stops_early for run in runs])

    def _restore_or_start(self) -> TrainState:
        saved = [set(run.checkpoints.steps()) for run in self.runs]
        common = max(set.intersection(*saved), default=None)
        if common is None and any(saved):
            # So few steps are lost that a second way to begin would not be worth it.
            raise UserError(_apart(self.runs, saved))
        like = self.update.abstract_member()
        states = [run.restore(like, common) for run in self.runs]
        if None in states:
            return self.update.fresh_state()
        if len({int(state.step) for state in states}) > 1:
            raise UserError(_apart(self.runs, [{int(state.step)} for state in states]))
        return self.update.join(states)

    def _make_evaluator(self) -> Evaluator:
        limit = self.config.evaluation.limit
        return Evaluator(self.prepared.task, self.prepared.mesh, "validation", limit)

    @property
    def step(self) -> int:
        """Updates done so far."""
        return int(np.max(self.state.step))

    def run(self) -> str:
        """Trains to the end; returns 'complete', 'stopped early' or the name of a signal."""
        step = self.step
        with contextlib.ExitStack() as stack:
            interruption = stack.enter_context(Interruption())
            progress = stack.enter_context(Progress(self.durations.total, step))
            for run in self.runs:
                stack.callback(run.close)
                run.open(step, progress, shown=run is self.runs[0])
            batches = stack.enter_context(self._batches(step))
            if step:
                progress.message(f"continuing at step {step}")
            if step < self.durations.total:
                # Where memory does not suffice, that shows now and not hours later.
                largest = abstract_batch(self.prepared.plan.largest)
                self.update.compile(self.state, self.active, largest)
            while True:
                metrics = self._evaluate(step) if self._to_evaluate(step) else {}
                ended = [run for run in self._going() if run.stops_early]
                reason = self._reason_to_leave(step, interruption)
                if reason in (_COMPLETE, _EARLY):
                    ended = self._going()
                for run in ended:
                    run.meter.finish()
                if metrics or reason or ended or self._due(step, self.durations.save):
                    self._save(step, metrics)
                self.active = np.array([not run.stops_early for run in self.runs])
                if reason:
                    return reason
                step += 1
                self._step(step, next(batches))

    def _going(self) -> list[Run]:
        return [run for run, active in zip(self.runs, self.active, strict=True) if active]

    def _batches(self, step: int) -> Loader:
        prepared = self.prepared
        return Loader(
            prepared.tokenized,
            prepared.plan,
            step,
            self.durations.total,
            place=functools.partial(distribute, prepared.mesh),
            sampling=prepared.sampling,
            part=functools.partial(own_rows, prepared.mesh),
        )

    def _step(self, step: int, batch: dict) -> None:
        started = time.perf_counter()
        # Compiles, where the shape is new.
        self.update.compile(self.state, self.active, batch)
        flops = self.update.flops(self.state, self.active, batch)
        compiling = time.perf_counter() - started
        self.state, shares = self.update.advance(self.state, self.active, batch)
        for run, share, active in zip(self.runs, shares, self.active, strict=True):
            if active:
                run.meter.exclude(compiling)
                run.meter.add(step, share, flops)

    def _due(self, step: int, every: int) -> bool:
        return bool(step and every and (step % every == 0 or step == self.durations.total))

    def _to_evaluate(self, step: int) -> bool:
        behind = any(run.clock["evaluated"] != step for run in self._going())
        return self._due(step, self.durations.evaluate) and behind

    def _reason_to_leave(self, step: int, interruption: Interruption) -> str:
        if step >= self.durations.total:
            return _COMPLETE
        if all(run.stops_early for run in self.runs):
            return _EARLY
        return interruption.after(step)

    def _evaluate(self, step: int) -> dict[Run, dict[str, float]]:
        """Evaluates the runs that go on; returns what was measured."""
        for run in self._going():
            run.meter.pause()
        measured = {}
        for number, run in enumerate(self.runs):
            if self.active[number]:
                params = self.update.member(self.state, number).params
                evaluation = self.evaluator(params, self.config.evaluation.translate)
                measured[run] = run.take(step, evaluation)
        return measured

    def _save(self, step: int, metrics: Mapping[Run, dict[str, float]]) -> None:
        for run in self._going():
            run.meter.pause()
        for number, run in enumerate(self.runs):
            if self.active[number]:
                run.save(step, self.update.member(self.state, number), metrics.get(run))


def _apart(runs: list[Run], steps: list[set[int]]) -> str:
    """Says that runs cannot go on together."""
    last = ", ".join(
        f"{run.name} {max(own, default=0)}" for run, own in zip(runs, steps, strict=True)
    )
    return (
        f"the runs are at different steps ({last}): expected a step that all have saved; continue"
        " them one by one, or choose a new --workdir"
    )
