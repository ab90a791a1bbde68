"""The training loop.

At every step s, from the first to the last, in this order:

    1. evaluate   if s is due
    2. save       if s is due, or was evaluated
    3. leave      if training is complete, stopped early, or asked to stop (saved first)
    4. take       batch s, a pure function of the seed and s
    5. step       dispatch update s, then read what update s - 1 reported

A run that is killed and started again therefore goes on as if nothing had happened.
"""

import contextlib
import logging
from collections.abc import Mapping
from pathlib import Path

import jax
import ml_collections
import numpy as np

from seqjax.data.loader import Loader
from seqjax.evaluation.evaluator import Evaluation, Evaluator
from seqjax.reporting.progress import Progress
from seqjax.stages import stage
from seqjax.training.feedback import listens
from seqjax.training.interruption import Interrupted, Interruption
from seqjax.training.meter import Diverged
from seqjax.training.overview import part_of
from seqjax.training.population import Population
from seqjax.training.preparation import Prepared
from seqjax.training.profile import Profile
from seqjax.training.program import Program, Single, abstract_batch
from seqjax.training.run import Run
from seqjax.training.state import TrainState

log = logging.getLogger(__name__)

# Why a training ends by itself.
ENDS = _COMPLETE, _EARLY, _DIVERGED = "complete", "stopped early", "diverged"


class Training:
    """The state of a run, or of several that are trained as one program, and what they write.

    Attributes:
      runs: the run directories, in the order of the states in `state`.
      state: what `program` makes of it.
      active: bool [K], which of them go on.
      profile: the updates to trace, if any.
    """

    def __init__(self, program: Program, runs: list[Run], prepared: Prepared):
        """Begins, or goes on from the newest step that all runs have saved."""
        self.program, self.runs, self.prepared = program, runs, prepared
        self.profile: Profile | None = None
        self.config = runs[0].config
        self.durations = prepared.durations
        # Built now: what is wrong with the validation shows before any work.
        self.evaluator = self._make_evaluator() if self.durations.evaluate else None
        if self.evaluator:
            for run in runs:
                run.measure_on(self.evaluator.digest)
        self.state = self._restore_or_start()
        self.active = self._not_stopped()

    @classmethod
    def of_one(
        cls, config: ml_collections.ConfigDict, prepared: Prepared, workdir: Path
    ) -> "Training":
        """Opens the run in a folder."""
        program = Single(config, prepared)
        run = Run(config, prepared, workdir, program.rates[0])
        training = cls(program, [run], prepared)
        run.forget_failure()
        return training

    @classmethod
    def of_several(
        cls,
        configs: Mapping[str, ml_collections.ConfigDict],
        population: Population,
        prepared: Prepared,
        workdir: Path,
    ) -> "Training":
        """Opens the members of a population by their names, each in `workdir`/NAME."""
        runs = [
            Run(config, prepared, workdir / name, rate, name)
            for (name, config), rate in zip(configs.items(), population.rates, strict=True)
        ]
        for run in runs:
            run.recall_failure()
        return cls(population, runs, prepared)

    def _restore_or_start(self) -> TrainState:
        like = self.program.abstract_member()
        states = [self._restored(run, like) for run in self.runs]
        if not any(states):
            with stage("drawing the initial parameters"):
                return self.program.fresh_state()
        # One program is at one step, but for those that wait for the others.
        going = [number for number, run in enumerate(self.runs) if run.goes_on]
        saved = [{0, *self.runs[number].checkpoints.steps()} for number in going]
        common = max(set.intersection(*saved)) if going else 0
        fresh = None
        for number, run in enumerate(self.runs):
            before = int(states[number].step) if states[number] else 0
            if number in going and before != common:
                log.warning("%s goes back from step %d to %d", run.name, before, common)
                states[number] = self._restored(run, like, common) if common else None
            if states[number] is None:
                run.begin()
                fresh = self.program.fresh_state() if fresh is None else fresh
                states[number] = self.program.parked(self.program.member(fresh, number))
        return self.program.join(states)

    def _restored(self, run: Run, like: TrainState, last: int | None = None) -> TrainState | None:
        state = run.restore(like, last)
        return None if state is None else self.program.parked(state)

    def _make_evaluator(self) -> Evaluator:
        limit = self.config.evaluation.limit
        return Evaluator(self.prepared.task, self.prepared.mesh, "validation", limit)

    @property
    def step(self) -> int:
        """Updates done so far, by those that go on if any do."""
        steps = np.atleast_1d(self.state.step)
        return int(np.max(steps[self.active] if self.active.any() else steps))

    @property
    def example(self) -> str:
        """A text of the corpus: the first of the validation, if that is read."""
        role = self.prepared.task.declared.roles[0]
        if self.evaluator:
            return self.evaluator.texts[role][0]
        return self.prepared.corpus[0][role]

    def run(self) -> str:
        """Trains to the end; returns one of `ENDS` or the name of a signal."""
        step = self.step
        with contextlib.ExitStack() as stack:
            interruption = stack.enter_context(Interruption())
            progress = stack.enter_context(Progress(self.durations.total, step))
            for run in self.runs:
                stack.callback(run.close)
            if self.profile:
                stack.callback(self.profile.stop)
            for run in self._going():
                run.open(step, progress)
            self._show()
            batches = stack.enter_context(self._batches(step))
            if step:
                progress.message(f"continuing at step {step}")
            if step < self.durations.total:
                # Where memory does not suffice, that shows now and not hours later.
                plan = self.prepared.plan
                self._compile(abstract_batch(plan, plan.largest))
            while True:
                metrics = self._evaluate(step, interruption) if self._to_evaluate(step) else {}
                ended = [run for run in self._going() if run.stops_early]
                reason = self._reason_to_leave(step, interruption)
                if reason in ENDS:
                    self._settle()
                    ended = self._going()
                for run in ended:
                    run.meter.finish()
                if metrics or reason or ended or self._due(step, self.durations.save):
                    self._save(step, metrics)
                self.active = self._not_stopped()
                self._show()
                if reason:
                    for run in self.runs:
                        run.check_record()
                    return reason
                step += 1
                self._traced(step, next(batches))

    def _not_stopped(self) -> np.ndarray:
        return np.array([run.goes_on for run in self.runs])

    def _settle(self) -> None:
        """Waits for what was dispatched; of several runs those that diverged go on no more."""
        for run in self._going():
            try:
                run.meter.pause()
            except Diverged as error:
                self._drop(run, error)

    def _drop(self, run: Run, error: Diverged) -> None:
        if len(self.runs) == 1:
            raise error
        run.fail(str(error))
        self.active[self.runs.index(run)] = False
        self._show()

    def _show(self) -> None:
        """Shows the reports of the first run that goes on."""
        for run in self._going()[:1]:
            run.show()

    def _going(self) -> list[Run]:
        return [run for run, active in zip(self.runs, self.active, strict=True) if active]

    def _batches(self, step: int) -> Loader:
        prepared = self.prepared
        return Loader(
            prepared.examples,
            prepared.plan,
            step,
            self.durations.total,
            place=self.program.place,
            sampling=prepared.sampling,
            part=self.program.part,
        )

    def _traced(self, step: int, batch: dict) -> None:
        """Updates; the first and the last update of a profile wait for what was dispatched."""
        profile = self.profile
        if profile and step == profile.first:
            self._settle()
            profile.start()
        # The profiler counts these; without a trace they cost nothing.
        with jax.profiler.StepTraceAnnotation("update", step_num=step):
            self._step(step, batch)
        if profile and step == profile.last:
            self._settle()
            profile.stop()

    def _step(self, step: int, batch: dict) -> None:
        if not self.program.step.knows(batch):
            # Stops the clocks: the update that is under way would seem to take no time.
            self._settle()
            self._compile(batch)
        flops = self.program.flops(self.state, self.active, batch)
        for run in self._going():
            run.meter.begin()
        self.state, sums = self.program.advance(self.state, self.active, batch)
        going = self._going()
        for number, run in enumerate(self.runs):
            if run in going:
                try:
                    run.meter.add(step, sums[number], flops, part=1 / len(going))
                except Diverged as error:
                    self._drop(run, error)

    def _compile(self, batch: dict) -> None:
        shapes = [batch[role].shape for role in self.prepared.task.declared.roles]
        lengths = ",".join(str(length) for _, length in shapes)
        with stage(f"compiling the update for batches of {shapes[0][0]}x({lengths})"):
            self.program.compile(self.state, self.active, batch)

    def _due(self, step: int, every: int) -> bool:
        return bool(step and every and (step % every == 0 or step == self.durations.total))

    def _to_evaluate(self, step: int) -> bool:
        behind = any(run.clock["evaluated"] != step for run in self._going())
        return self._due(step, self.durations.evaluate) and behind

    def _reason_to_leave(self, step: int, interruption: Interruption) -> str:
        if step >= self.durations.total and not self._to_evaluate(step):
            return _COMPLETE
        if not self._not_stopped().any():
            return _EARLY if any(run.stops_early for run in self.runs) else _DIVERGED
        if any(run.unrecorded for run in self._going()):
            interruption.ask()
        return interruption.after(step)

    def _evaluate(self, step: int, interruption: Interruption) -> dict[Run, dict[str, float]]:
        """Evaluates the runs that go on; returns what was measured.

        That may take longer than a scheduler waits: an evaluation that is interrupted comes to
        nothing, and is the first thing that is done when the run goes on.
        """
        self._settle()
        found = {}
        for number, run in enumerate(self.runs):
            if self.active[number]:
                params = self.program.best(self.state, number)
                try:
                    found[run] = self.evaluator(
                        params, self.config.evaluation.translate, interruption.check
                    )
                except Interrupted:
                    return {}
        taken = self._taken(step, found)
        if listens(self.config):
            for number, run in enumerate(self.runs):
                if run in found:
                    self.state = self.program.informed(self.state, number, run.feedback)
        return taken

    def _taken(self, step: int, found: Mapping[Run, Evaluation]) -> dict[Run, dict[str, float]]:
        evaluator = self.evaluator
        part = part_of(evaluator) if evaluator.count < evaluator.available else ""
        return {run: run.take(step, evaluation, part) for run, evaluation in found.items()}

    def _save(self, step: int, metrics: Mapping[Run, dict[str, float]]) -> None:
        self._settle()
        for number, run in enumerate(self.runs):
            if self.active[number]:
                run.save(step, self.program.member(self.state, number), metrics.get(run))
