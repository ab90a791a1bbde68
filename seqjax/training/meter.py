"""Metrics of training: sums that are read one step late, speeds measured between reports."""

import logging
import math
import time
from collections.abc import Callable, Mapping

from seqjax.errors import UserError
from seqjax.reporting.progress import Progress
from seqjax.reporting.writers import MetricWriter

log = logging.getLogger(__name__)


class Diverged(UserError):
    """The loss or the gradient is no finite number."""


class Meter:
    """Collects the sums that updates return and reports them at intervals.

    The sums of an update are read only when the next one has been dispatched, so the device never
    waits for the host. Evaluating, saving and compiling do not count as training time: call `pause`
    before them and `begin` after.

    The share of the peak is left out of reports once it has come out above one: on machines that no
    table lists the peak is measured, and one measured while other programs ran is too low.
    """

    def __init__(
        self,
        writer: MetricWriter,
        rate: Callable[[int], float],
        every: int,
        steps_per_epoch: int,
        peak: float,
    ):
        self.writer = writer
        # The display that shows reports, if any.
        self.progress: Progress | None = None
        self.rate, self.every, self.steps_per_epoch = rate, every, steps_per_epoch
        self.peak, self._peak_holds = peak, True
        self._seconds = 0.0
        self._tokens = 0.0
        self._pending: tuple[int, Callable, float, float] | None = None
        self._started: float | None = None
        self._unreported: tuple[int, dict] | None = None
        self._reset()

    def _reset(self) -> None:
        names = "loss", "objective", "tokens", "flops", "seconds"
        self._sums = dict.fromkeys(names, 0.0)

    def counts(self) -> dict:
        """Returns what is saved for a resumed run: totals, and sums since the last report."""
        return {
            "seconds": self._seconds,
            "tokens": self._tokens,
            "since_report": dict(self._sums),
            "unreported": self._unreported,
        }

    def recall(self, clock: dict) -> None:
        """Goes on from the `counts` in a clock, so that a stop does not show in any report."""
        self._seconds = clock.get("seconds", 0.0)
        self._tokens = clock.get("tokens", 0.0)
        sums = clock.get("since_report", {})
        # Runs of earlier versions call the objective the loss.
        self._sums |= {"objective": sums["loss"]} | sums if sums else {}
        if clock.get("unreported"):
            self._unreported = tuple(clock["unreported"])

    def begin(self) -> None:
        """Starts the clock if it stands still; call it before an update is dispatched.

        A device that computes while the host dispatches would seem to take no time otherwise.
        """
        if self._started is None:
            self._started = time.perf_counter()

    def add(
        self, step: int, sums: Callable[[], Mapping[str, float]], flops: float, part: float = 1.0
    ) -> None:
        """Takes a function that reads the sums of the update to `step`; reads the ones before it.

        `part` is the run's share of the time, where several runs are updated at once.
        """
        self.begin()
        previous, self._pending = self._pending, (step, sums, flops, part)
        if previous:
            self._read(*previous)

    def pause(self) -> None:
        """Reads the sums of the last update and stops the clock until the next `begin`."""
        previous, self._pending = self._pending, None
        if previous:
            self._read(*previous)
        self._started = None

    def finish(self) -> None:
        """Reports the updates since the last report, when no more will come.

        Should there be more after all, the next report counts these once more, as if the run had
        not ended here.
        """
        self.pause()
        if self.every and self._unreported:
            self._report(*self._unreported)

    def _read(
        self, step: int, read: Callable[[], Mapping[str, float]], flops: float, part: float
    ) -> None:
        sums = {name: float(value) for name, value in read().items()}
        for name, what in (("loss", "loss"), ("gradient_norm", "gradient")):
            if not math.isfinite(sums[name]):
                raise Diverged(
                    f"the {what} is {sums[name]} at step {step}: training diverged; lower"
                    " optimizer.learning_rate, lengthen schedule.warmup or set optimizer.clip, in a"
                    " new --workdir"
                )
        now = time.perf_counter()
        elapsed, self._started = part * (now - self._started), now
        self._seconds += elapsed
        self._tokens += sums["tokens"]
        for name, value in {**sums, "flops": flops, "seconds": elapsed}.items():
            if name in self._sums:
                self._sums[name] += value
        if self.every and step % self.every == 0:
            self._report(step, sums)
            self._reset()
        else:
            self._unreported = (step, sums)
            if self.progress:
                self.progress.update(step)

    def _report(self, step: int, last: dict[str, float]) -> None:
        total = self._sums
        metrics = {
            # Without label smoothing, as the validation loss; then what is trained.
            "loss": total["loss"] / max(total["tokens"], 1.0),
            "objective": total["objective"] / max(total["tokens"], 1.0),
            "learning_rate": self.rate(step - 1),
            "gradient_norm": last["gradient_norm"],
            "epoch": step / self.steps_per_epoch,
            "tokens": self._tokens,
            "seconds": self._seconds,
            "tokens_per_second": total["tokens"] / total["seconds"],
            **self._peak_share(total["flops"] / total["seconds"]),
        }
        self.writer.write(step, {f"train/{name}": value for name, value in metrics.items()})
        if self.progress:
            self.progress.update(step, metrics)
        self._unreported = None

    def _peak_share(self, rate: float) -> dict[str, float]:
        """Returns the share of the peak that a rate in FLOP/s is, nothing if that is unknown."""
        if self._peak_holds and rate > self.peak:
            self._peak_holds = False
            log.warning(
                "the peak of %.3g GFLOP/s is too low, %.3g were reached: the machine was busy when"
                " it was measured; reports leave out the share of the peak from here on",
                self.peak / 1e9,
                rate / 1e9,
            )
        return {"peak_share": rate / self.peak} if self._peak_holds else {}
