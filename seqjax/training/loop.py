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
import logging
import math
import time
from pathlib import Path

import ml_collections

from seqjax.data.loader import Loader
from seqjax.errors import UserError
from seqjax.evaluation.evaluator import Evaluator
from seqjax.evaluation.metrics import best_is_higher
from seqjax.parallel.mesh import distribute, own_rows
from seqjax.reporting.hardware import peak_flops
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

# Why a training ends by itself.
_COMPLETE, _EARLY = "complete", "stopped early"


class Training:
    """One run: its state, its clock, and what it writes to the run directory.

    The clock holds what must outlive a stop besides arrays: `evaluated`, the last step that was
    evaluated; `watched`, the metric that early stopping watches, `best`, its best value, and
    `worse`, evaluations since then; `plan`, the fingerprint of the batches; `schedule`, what the
    learning rate depends on; and what the meter has counted.
    """

    def __init__(self, config: ml_collections.ConfigDict, prepared: Prepared, workdir: Path):
        self.config = config
        self.prepared = prepared
        self.workdir = workdir
        self.durations = prepared.durations
        self.update = Update(config, prepared)
        self.checkpoints = Checkpoints(workdir, config.checkpoint)
        # Built now: what is wrong with the validation shows before any work.
        self.evaluator = self._make_evaluator() if self.durations.evaluate else None
        self.clock = {
            "evaluated": 0,
            "watched": config.train.stop_metric,
            "best": math.nan,
            "worse": 0,
            "plan": prepared.plan.fingerprint,
            "schedule": self._schedule(),
        }
        self.state = self._restore_or_start()

    def _restore_or_start(self) -> TrainState:
        restored = self.checkpoints.restore(self.update.abstract_state())
        if restored is None:
            return self.update.fresh_state()
        state, clock = restored
        now, before = self.clock, self.clock | clock
        if before["plan"] != now["plan"]:
            raise UserError(
                f"the run in {self.workdir} had other batches: the corpus has changed, or"
                f" {self.prepared.mesh.size} device(s) cannot share its batches as those before"
                " did; continue with the same, or choose a new --workdir"
            )
        if before["schedule"] != now["schedule"]:
            log.warning(
                "the learning rate goes on by another schedule: (warm-up, steps in all) were %s"
                " before the stop and are %s",
                before["schedule"],
                now["schedule"],
            )
        if before["watched"] != now["watched"]:
            before |= {name: now[name] for name in ("best", "worse")}
        self.clock = before | {name: now[name] for name in ("schedule", "watched")}
        return state

    def _schedule(self) -> list[int]:
        """Returns the warm-up and, where the rate depends on it, the end of training, in steps."""
        ends = self.config.schedule.kind in ("cosine", "linear")
        return [self.durations.warmup, self.durations.total if ends else 0]

    def _make_evaluator(self) -> Evaluator:
        limit = self.config.evaluation.limit
        return Evaluator(self.prepared.task, self.prepared.mesh, "validation", limit)

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
                if reason in (_COMPLETE, _EARLY):
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
            place=functools.partial(distribute, prepared.mesh),
            sampling=prepared.sampling,
            part=functools.partial(own_rows, prepared.mesh),
        )

    def _meter(self, writer: MetricWriter, progress: Progress) -> Meter:
        meter = Meter(
            writer,
            progress,
            self.update.rate,
            self.durations.report,
            self.prepared.plan.steps_per_epoch,
            peak_flops(self.config.model.dtype, self.prepared.mesh.devices.flat),
        )
        meter.recall(self.clock)
        if int(self.state.step) < self.durations.total:
            # Where memory does not suffice, that shows now and not hours later.
            self.update.step.compile(self.state, abstract_batch(self.prepared.plan.largest))
        return meter

    def _step(self, batch: dict, meter: Meter) -> tuple[dict, float]:
        started = time.perf_counter()
        # Compiles, where the shape is new.
        flops = self.update.step.flops(self.state, batch)
        meter.exclude(time.perf_counter() - started)
        self.state, sums = self.update.step(self.state, batch)
        return sums, flops

    def _due(self, step: int, every: int) -> bool:
        return bool(step and every and (step % every == 0 or step == self.durations.total))

    def _reason_to_leave(self, step: int, interruption: Interruption) -> str:
        if step >= self.durations.total:
            return _COMPLETE
        if self.config.train.stop_metric and self.clock["worse"] >= self.config.train.patience:
            return _EARLY
        return interruption.after(step)

    def _evaluate(self, step: int, writer: MetricWriter, progress: Progress) -> dict[str, float]:
        config = self.config.evaluation
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
