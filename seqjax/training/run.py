"""What one training keeps besides its state, and what it writes to its run directory."""

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import ml_collections
import optax

from seqjax.errors import UserError
from seqjax.evaluation.evaluator import Evaluation
from seqjax.reporting.digits import number
from seqjax.reporting.hardware import peak_flops
from seqjax.reporting.predictions import write_predictions
from seqjax.reporting.progress import Progress
from seqjax.reporting.samples import sample_lines, sample_text
from seqjax.reporting.writers import MetricWriter
from seqjax.stages import stage
from seqjax.tasks.declared import best_is_higher
from seqjax.training.checkpoints import Checkpoints
from seqjax.training.durations import shares
from seqjax.training.feedback import (
    Feedback,
    after,
    feedback_of,
    forgotten,
    listens,
    no_losses,
)
from seqjax.training.measured import Measured, changes, measured_on
from seqjax.training.meter import Meter
from seqjax.training.optimizers import learning_rate, rate_on_host
from seqjax.training.preparation import Prepared
from seqjax.training.state import TrainState

log = logging.getLogger(__name__)

# What depends on scores of earlier evaluations, in the words of a warning.
_STOPPING, _FEEDBACK = "early stopping", "the learning rate or the average"
# Sentences of the validation that are shown with their outputs, and the characters of each.
_SAMPLES, _LONGEST_SAMPLE = 2, 100


class Run:
    """A run directory while it is trained.

    The clock holds what must outlive a stop besides arrays: `evaluated`, the last step that was
    evaluated; `watched`, the metric that early stopping watches, `best`, its best value, `worse`,
    evaluations since then, and `measured`, what they were measured on; `plan`, the fingerprint of
    the batches, and `corpus`, that of what stands in them; `schedule`, what the learning rate
    depends on; `shares`, what shares of the training mean in steps; `unwritten`, lines of
    metrics that the disk did not take; `feedback`, the history of the losses that the rate or an
    average depends on (`seqjax.training.feedback`); and what the meter has counted.

    Attributes:
      name: what it is called in messages, '' where it is the only one.
      checkpoints: the folder of its states.
      clock: see above.
      meter: what it reports, once `open`.
      failure: why it cannot go on, '' where it can.
    """

    def __init__(
        self,
        config: ml_collections.ConfigDict,
        prepared: Prepared,
        workdir: Path,
        rate: optax.Schedule,
        name: str = "",
    ):
        self.config, self.workdir, self.name = config, workdir, name
        self.checkpoints = Checkpoints(workdir, config.checkpoint)
        self._prepared, self._rate = prepared, rate
        self.begin()
        self.meter: Meter | None = None
        self.failure = ""
        self._failure = workdir / "failure.txt"
        self._writer: MetricWriter | None = None
        self._progress: Progress | None = None

    def begin(self) -> None:
        """Sets the clock to the beginning."""
        self.clock = {
            "evaluated": 0,
            "watched": self.config.train.stop_metric,
            "best": math.nan,
            "worse": 0,
            "measured": dict(self.checkpoints.measured),
            "plan": self._prepared.plan.fingerprint,
            "corpus": self._prepared.examples.digest,
            "schedule": self._schedule(),
            "shares": shares(self.config, self._prepared.durations),
            "feedback": no_losses(),
        }

    def measure_on(self, examples: str) -> None:
        """Takes the digest of the validation examples, before `restore`."""
        self.checkpoints.measured = measured_on(self.config, examples)
        self.clock["measured"] = dict(self.checkpoints.measured)

    def _schedule(self) -> list[int]:
        """Returns the warm-up and what else the rate depends on, in steps: the end, or drops."""
        durations = self._prepared.durations
        ends = self.config.schedule.kind in ("cosine", "linear")
        found = [durations.warmup, durations.total if ends else 0]
        steps = self.config.schedule.kind == "step"
        return found + ([durations.hold, durations.interval] if steps else [])

    def restore(self, like: TrainState, last: int | None = None) -> TrainState | None:
        """Returns the newest state, at most that of step `last`, and sets the clock to it.

        Raises:
          UserError: it was trained on other batches or another corpus.
        """
        with stage(f"{self._prefix}reading the newest checkpoint"):
            restored = self.checkpoints.restore(like, last)
        if restored is None:
            return None
        state, clock = restored
        now, before = self.clock, self.clock | clock
        if before["corpus"] != now["corpus"]:
            raise UserError(
                f"{self.workdir}: expected the batches of the run: the corpus has changed; continue"
                " with the same, or choose a new --workdir"
            )
        if before["plan"] != now["plan"]:
            raise UserError(
                f"{self.workdir}: expected the batches of the run: this version divides lengths"
                " into other batch shapes, so the run cannot be continued exactly; choose a new"
                " --workdir"
            )
        self._warn_of_another_rate(before["schedule"], int(state.step))
        other = self._measured_otherwise(before["measured"])
        if before["watched"] != now["watched"] or _STOPPING in other:
            before |= {name: now[name] for name in ("best", "worse")}
        if _FEEDBACK in other:
            before["feedback"] = forgotten(before["feedback"])
        # Where nothing is evaluated now, what was measured before still counts.
        measured = now["measured"] or before["measured"]
        self.clock = before | {name: now[name] for name in ("schedule", "shares", "watched")}
        self.clock["measured"] = measured
        where = jax.tree.map(lambda leaf: leaf.sharding, like.feedback)
        return state.replace(feedback=jax.device_put(self.feedback, where))

    @property
    def feedback(self) -> Feedback | tuple[()]:
        """What the next update takes from the validation."""
        return feedback_of(self.clock["feedback"], self.config)

    def _warn_of_another_rate(self, before: Sequence[int], step: int) -> None:
        """Warns if the schedule gives the next update another learning rate than before."""
        if list(before) == self._schedule():
            return
        end, config = before[1], self.config
        rate = learning_rate(config.optimizer.learning_rate, config.schedule, *before)
        log.warning(
            "%sthe learning rate of the next update is %.3g instead of %.3g: schedule.kind = %r"
            " takes the end of training, which was step %s and is step %s",
            self._prefix,
            float(self._rate(step)),
            float(rate(step)),
            config.schedule.kind,
            f"{end:,}",
            f"{self._prepared.durations.total:,}",
        )

    def _measured_otherwise(self, before: Measured) -> list[str]:
        """Returns, and warns of, what cannot compare with scores from before."""
        now, watched = self.checkpoints.measured, self.config.train.stop_metric
        compared = {"the best checkpoint": self.checkpoints.metric}
        if watched:
            compared[_STOPPING] = watched
        if listens(self.config):
            compared[_FEEDBACK] = "loss"
        other = {what: changes(metric, before, now) for what, metric in compared.items()}
        reasons = dict.fromkeys(reason for found in other.values() for reason in found)
        if reasons:
            what = " and ".join(what for what, found in other.items() if found)
            log.warning(
                "%svalidation has changed since the run was stopped (%s): earlier scores no longer"
                " count for %s",
                self._prefix,
                "; ".join(reasons),
                what,
            )
        return [what for what, found in other.items() if found]

    def open(self, step: int, progress: Progress) -> None:
        """Begins to write, after so many steps."""
        self._progress = progress
        config = self.config
        self.checkpoints.open()
        self._writer = MetricWriter(
            self.workdir,
            config.reporting,
            step,
            config.to_dict(),
            self.clock.get("unwritten", ""),
        )
        prepared = self._prepared
        self.meter = Meter(
            self._writer,
            self._current_rate(),
            prepared.durations.report,
            prepared.plan.steps_per_epoch,
            peak_flops(config.model.dtype, prepared.mesh.devices.flat),
        )
        self.meter.recall(self.clock)

    def _current_rate(self) -> Callable[[int], float]:
        """Returns the learning rate as a function of the update, with the feedback at that time."""
        planned = rate_on_host(self._rate)
        if not listens(self.config):
            return planned
        return lambda step: planned(step) * float(self.feedback.scale)

    def close(self) -> None:
        """Waits until all is written."""
        with stage(f"{self._prefix}saving the last checkpoint"):
            try:
                if self._writer:
                    self._writer.close()
            finally:
                self.checkpoints.close()

    @property
    def unrecorded(self) -> bool:
        """Whether its metrics cannot be written: it is to be saved, and to stop."""
        return self._writer.failure is not None

    def check_record(self) -> None:
        """Raises UserError if its metrics could not be written."""
        if self._writer:
            self._writer.check()

    def recall_failure(self) -> None:
        """Learns whether the run, as one of several, was taken out before a stop."""
        if self._failure.exists():
            self.failure = self._failure.read_text(encoding="utf-8")

    def forget_failure(self) -> None:
        """Lets the run go on by itself."""
        self._failure.unlink(missing_ok=True)

    def fail(self, reason: str) -> None:
        """Takes the run out of those that go on."""
        self.failure = reason
        self._failure.write_text(reason, encoding="utf-8")
        self._progress.message(f"{self._prefix}{reason}")

    def show(self) -> None:
        """Has its reports shown on the progress display, too."""
        self.meter.progress = self._progress
        self._progress.name = self.name

    def take(self, step: int, evaluation: Evaluation, part: str = "") -> dict[str, float]:
        """Writes and prints an evaluation, counts for early stopping; returns its numbers.

        `part` says how much of the split it covers, '' if all.
        """
        metrics = evaluation.metrics
        self._writer.write(step, {f"validation/{k}": v for k, v in metrics.items()})
        numbers = {k: v for k, v in metrics.items() if not isinstance(v, str)}
        shown = "  ".join(f"{name} {number(value)}" for name, value in numbers.items())
        of = f" of {part}" if part else ""
        self._progress.message(f"{self._prefix}validation{of} at step {step}: {shown}")
        if evaluation.hypotheses:
            self._take_outputs(step, evaluation)
        self._watch(numbers)
        if listens(self.config):
            self._listen(step, numbers["loss"])
        self.clock["evaluated"] = step
        return numbers

    def _listen(self, step: int, loss: float) -> None:
        """Adds a loss to the history that the feedback comes from; says what it changes."""
        before, self.clock["feedback"] = (
            self.feedback,
            after(self.clock["feedback"], self.config, step, loss),
        )
        now = self.feedback
        if now.scale != before.scale:
            rate = self._current_rate()(step)
            self._progress.message(f"{self._prefix}learning rate {number(rate)} from step {step}")
        if now.since != before.since:
            self._progress.message(f"{self._prefix}averaging the parameters from step {step}")

    def _take_outputs(self, step: int, evaluation: Evaluation) -> None:
        """Writes what was translated, and shows the first sentences of it."""
        texts = evaluation.sources, evaluation.references, evaluation.hypotheses
        write_predictions(self.workdir, "validation", step, evaluation.hypotheses)
        samples = list(zip(*(side[:_SAMPLES] for side in texts), strict=True))
        self._writer.text(step, "validation/samples", sample_text(samples))
        # Of several runs they would be too many lines.
        if not self.name:
            for line in list(sample_lines(samples, _LONGEST_SAMPLE))[:-1]:
                self._progress.message(line)

    def save(self, step: int, state: TrainState, metrics: dict[str, float] | None) -> None:
        """Saves the state with the metrics of an evaluation, if any.

        A step that is saved is saved again only where it has been evaluated since.
        """
        self.meter.pause()
        self.clock |= self.meter.counts() | {"unwritten": self._writer.unwritten}
        if metrics or step not in self.checkpoints.steps():
            # The one before must be on the disk first.
            with stage(f"{self._prefix}saving step {step}"):
                self.checkpoints.save(state, dict(self.clock), metrics)

    @property
    def goes_on(self) -> bool:
        """Whether it has neither stopped early nor failed."""
        return not self.stops_early and not self.failure

    @property
    def stops_early(self) -> bool:
        """Whether `train.stop_metric` has not become better for too long."""
        train = self.config.train
        return bool(train.stop_metric) and self.clock["worse"] >= train.patience

    @property
    def _prefix(self) -> str:
        return f"{self.name}: " if self.name else ""

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
