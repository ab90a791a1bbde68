"""Progress and speed of a run: a bar on a terminal, plain lines elsewhere."""

import collections
import contextlib
import statistics
import sys
import time
from collections.abc import Mapping
from typing import TextIO

from seqjax.parallel.processes import is_first
from seqjax.reporting.terminal import start_live
from seqjax.stages import write_seconds

# Seconds between two drawings of the bar.
_REDRAW_SECONDS = 0.1
# A shorter bar says less than its numbers.
_SHORTEST_BAR = 8
# An interval that is this many times slower than the median was spent on something else.
_OUTLIER = 3.0


class Progress:
    """Shows a run's progress on standard error.

    On a terminal a bar is redrawn in place; call `update(step)` after every step, it costs a few
    microseconds. Anywhere else only `update(step, metrics)` prints a line, so pass metrics at
    reporting intervals:

        with Progress(total_steps=2000, first_step=0) as progress:
            progress.update(step)
            progress.update(step, {"loss": 3.2, "tokens_per_second": 5312.0, "peak_share": 0.41})
            progress.message("checkpoint saved")

    With several processes only the first one shows anything. Where a line cannot be written, since
    the disk is full or the terminal is gone, it is dropped: training continues.

    Attributes:
      name: the run's name if it is one of several, else ''.
    """

    def __init__(self, total_steps: int, first_step: int, stream: TextIO | None = None):
        """Starts the display; `stream` is standard error unless given."""
        self._stream = sys.stderr if stream is None else stream
        self.name = ""
        self._silent = not is_first()
        self._total = total_steps
        self._step = first_step
        self._metrics: dict[str, float] = {}
        self._started = time.monotonic()
        self._drawn = -_REDRAW_SECONDS
        self._pace = Pace()
        # Daemons have no standard error.
        self._silent = self._silent or self._stream is None
        self._live = None if self._silent else start_live(self._stream)

    def update(self, step: int, metrics: Mapping[str, float] | None = None) -> None:
        """Shows that `step` updates are done.

        Args:
          step: updates done so far, those before a resume included.
          metrics: any of 'loss', 'tokens_per_second' and 'peak_share' (a fraction of the
            devices' peak). Other metrics are not shown.
        """
        now = time.monotonic()
        self._step = step
        self._pace.add(step, now)
        if metrics is not None:
            self._metrics = dict(metrics)
        if self._live is not None:
            if now - self._drawn >= _REDRAW_SECONDS or step >= self._total:
                with contextlib.suppress(OSError):
                    self._draw()
        elif metrics is not None and not self._silent:
            where = f"{self.name}: " if self.name else ""
            self._print("  ".join([f"{where}step {self._step}/{self._total}", *self._facts()]))

    def message(self, text: str) -> None:
        """Prints a line, above the bar if there is one."""
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.console.print(text, markup=False, highlight=False, soft_wrap=True)
        elif not self._silent:
            self._print(text)

    def close(self) -> None:
        """Leaves the last state of the bar on the screen; may be called twice."""
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._draw()
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live = None
            self._silent = True

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _facts(self) -> list[str]:
        """Returns loss, speed, share of peak and time left, as far as they are known."""
        facts = []
        if "loss" in self._metrics:
            facts.append(f"loss {self._metrics['loss']:.3f}")
        if "tokens_per_second" in self._metrics:
            facts.append(f"{_rate(self._metrics['tokens_per_second'])} tokens/s")
        if "peak_share" in self._metrics:
            percent = 100 * self._metrics["peak_share"]
            facts.append(f"{percent:.{0 if percent >= 10 else 1}f} % of peak")
        if self._step >= self._total:
            facts.append(f"took {write_seconds(time.monotonic() - self._started)}")
        elif (pace := self._pace.seconds_per_step()) is not None:
            facts.append(f"{write_seconds(pace * (self._total - self._step))} left")
        return facts

    def _draw(self) -> None:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        self._drawn = time.monotonic()
        count, facts = f"{self._step}/{self._total}", self._facts()
        # The last column stays empty: some terminals wrap when it is written.
        width = self._live.console.width - 1
        while len(facts) > 1 and len("  ".join([count, *facts])) > width:
            # The share of peak goes first, then the speed.
            facts.pop(-2)
        cells = [count, "  ".join(facts)] if facts else [count]
        room = width - len("  ".join(cells)) - 2
        if room >= _SHORTEST_BAR:
            bar = ProgressBar(total=max(self._total, 1), completed=self._step, width=room)
            cells.insert(1, bar)
        line = Table.grid(padding=(0, 2))
        for _ in cells:
            line.add_column(no_wrap=True, overflow="crop")
        line.add_row(*cells)
        self._live.update(line, refresh=True)

    def _print(self, text: str) -> None:
        with contextlib.suppress(OSError):
            print(text, file=self._stream, flush=True)


class Pace:
    """Estimates the time of a step from recent ones, without compilation and other pauses."""

    def __init__(self, window: int = 200):
        """Remembers the last `window` intervals."""
        self._last: tuple[int, float] | None = None
        self._intervals: collections.deque[tuple[int, float]] = collections.deque(maxlen=window)

    def add(self, step: int, now: float) -> None:
        """Records that `step` updates are done at the time `now`, in seconds."""
        # What came before the first note includes start-up and the first compilation.
        if self._last is not None:
            if step == self._last[0]:
                return
            self._intervals.append((step - self._last[0], now - self._last[1]))
        self._last = (step, now)

    def seconds_per_step(self) -> float | None:
        """Returns the mean over intervals that are not far slower than the median, or None."""
        if not self._intervals:
            return None
        limit = _OUTLIER * statistics.median(time / steps for steps, time in self._intervals)
        usual = [(steps, time) for steps, time in self._intervals if time <= limit * steps]
        return sum(time for _, time in usual) / sum(steps for steps, _ in usual)


def _rate(value: float) -> str:
    if value < 100_000:
        return f"{value:,.0f}"
    if value < 999_500:
        return f"{value / 1e3:.0f}k"
    return f"{value / 1e6:.3g}M"
