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
import logging
import math
import time
from pathlib import Path

import jax
import ml_collections

from seqjax.data.loader import Loader
from seqjax.evaluation.evaluator import Evaluator
from seqjax.evaluation.metrics import best_is_higher
from seqjax.parallel.mesh import by_row
from seqjax.reporting.predictions import write_predictions
from seqjax.reporting.progress import Progress
from seqjax.reporting.writers import MetricWriter
from seqjax.training.checkpoints import Checkpoints
from seqjax.training.interruption import Interruption
from seqjax.training.meter import Meter
from seqjax.training.preparation import Prepared
from seqjax.training.state import TrainState
from seqjax.training.update import Update, abstract_batch

log = logging.getLogger(__name__)


class Training:
    """One run: its state, its clock, and what it writes to the run directory.

    The clock holds what must outlive a stop besides arrays: `evaluated`, the last step that was
    evaluated; `best`, the best value of `train.stop_metric`; `worse`, evaluations since then;
    `batches`, what the plan makes of the corpus; and what the meter has counted.
    """

    def __init__(self, config: ml_collections.ConfigDict, prepared: Prepared, workdir: Path):
        self.config = config
        self.prepared = prepared
        self.workdir = workdir
        self.durations = prepared.durations
        self.update = Update(config, prepared)
        self.checkpoints = Checkpoints(workdir, config.checkpoint)
        plan = prepared.plan
        batches = {"epoch": plan.steps_per_epoch, "shapes": [list(shape) for shape in plan.shapes]}
        self.clock = {"evaluated": 0, "best": math.nan, "worse": 0, "batches": batches}
        self.state = self._restore_or_start()
        self.evaluator: Evaluator | None = None

    def _restore_or_start(self) -> TrainState:
        fresh = self.update.fresh_state()
        restored = self.checkpoints.restore(fresh)
        if restored is None:
            return fresh
        state, clock = restored
        if clock.get("batches", self.clock["batches"]) != self.clock["batches"]:
            log.warning(
                "the batches are others than before the stop, and so will the results be: the"
                " corpus has changed, or they are shared by another number of devices"
            )
        self.clock |= clock | {"batches": self.clock["batches"]}
        return state

    def run(self) -> str:
        """Trains to the end; returns 'complete', 'stopped early' or the name of a signal."""
        step, reporting = int(self.state.step), self.config.reporting
        with (
            Interruption() as interruption,
            contextlib.closing(self.checkpoints),
            MetricWriter(self.workdir, reporting, step, self.config.to_dict()) as writer,
            Progress(self.durations.total, step) as progress,
            self._batches(step) as batches,
        ):
            if step:
                progress.message(f"continuing at step {step}")
            meter = self._meter(writer, progress)
            while True:
                metrics = None
                if self._due(step, self.durations.evaluate) and self.clock["evaluated"] != step:
                    meter.pause()
                    metrics = self._evaluate(step, writer, progress)
                reason = self._reason_to_leave(step, interruption)
                if reason and reason != interruption.signal:
                    meter.finish()
                if metrics or reason or self._due(step, self.durations.save):
                    meter.pause()
                    self._save(step, metrics, meter)
                if reason:
                    return reason
                step += 1
                meter.add(step, *self._step(next(batches), meter))

    def _batches(self, step: int) -> Loader:
        prepared = self.prepared
        return Loader(
            prepared.tokenized,
            prepared.plan,
            step,
            self.durations.total,
            place=lambda batch: jax.device_put(batch, by_row(prepared.mesh)),
            sampling=prepared.sampling,
        )

    def _meter(self, writer: MetricWriter, progress: Progress) -> Meter:
        meter = Meter(
            writer,
            progress,
            self.update.rate,
            self.durations.report,
            self.prepared.plan.steps_per_epoch,
            self.config.model.dtype,
        )
        meter.recall(self.clock)
        if int(self.state.step) < self.durations.total:
            # Where memory does not suffice, that shows now and not hours later.
            self.update.step.compile(self.state, abstract_batch(self.prepared.plan.largest))
        return meter

    def _step(self, batch: dict, meter: Meter) -> tuple[dict, float]:
        started = time.perf_counter()
        flops = self.update.step.flops(self.state, batch)
        meter.exclude(time.perf_counter() - started)
        self.state, sums = self.update.step(self.state, batch)
        return sums, flops

    def _due(self, step: int, every: int) -> bool:
        return bool(step and every and (step % every == 0 or step == self.durations.total))

    def _reason_to_leave(self, step: int, interruption: Interruption) -> str:
        if step >= self.durations.total:
            return "complete"
        if self.config.train.stop_metric and self.clock["worse"] >= self.config.train.patience:
            return "stopped early"
        return interruption.signal

    def _evaluate(self, step: int, writer: MetricWriter, progress: Progress) -> dict[str, float]:
        config = self.config.evaluation
        if self.evaluator is None:
            self.evaluator = Evaluator(
                self.prepared.task, self.prepared.mesh, "validation", config.limit
            )
        result = self.evaluator(self.state.params, config.translate)
        if config.translate:
            write_predictions(self.workdir, "validation", step, result.hypotheses)
        writer.write(step, {f"validation/{k}": v for k, v in result.metrics.items()})
        numbers = {k: v for k, v in result.metrics.items() if not isinstance(v, str)}
        shown = "  ".join(f"{name} {value:.2f}" for name, value in numbers.items())
        progress.message(f"validation at step {step}: {shown}")
        self._watch(numbers)
        self.clock["evaluated"] = step
        return numbers

    def _watch(self, metrics: dict[str, float]) -> None:
        """Keeps count of evaluations without a better value of `train.stop_metric`."""
        name = self.config.train.stop_metric
        if not name:
            return
        sign = 1.0 if best_is_higher(name) else -1.0
        best = self.clock["best"]
        if math.isnan(best) or sign * metrics[name] > sign * best:
            self.clock["best"], self.clock["worse"] = metrics[name], 0
        else:
            self.clock["worse"] += 1

    def _save(self, step: int, metrics: dict[str, float] | None, meter: Meter) -> None:
        self.clock |= meter.counts()
        if step not in self.checkpoints.steps():
            self.checkpoints.save(self.state, dict(self.clock), metrics)
