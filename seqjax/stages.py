"""Progress of work before and after training: reading, tokenizing, compiling, saving, searching.

A stage that ends within five seconds prints nothing. A longer one prints a line at five seconds
and then every ten, with its count and the time left if both are known, and one line at its end:

    reading train.de: 1,310,720 of 4,548,885 lines, 12 s left
    reading train.de: done in 17 s

Lines go to standard error. Of several processes only the first one prints.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

# Seconds until the first line, and between the ones after it.
FIRST = 5.0
NEXT = 10.0

_silent = False


def silence() -> None:
    """Stops `say` in this process: only the first process of a program prints."""
    global _silent
    _silent = True


def say(line: str, always: bool = False) -> None:
    """Prints a line to standard error, if there is one.

    Args:
      line: the line, without its end.
      always: whether a silenced process prints it as well, as it does an error.
    """
    # Looked up each time: a progress bar takes the place of standard error while it is shown.
    if sys.stderr is not None and (always or not _silent):
        # Work continues even if the line cannot be printed, as on a full disk.
        with contextlib.suppress(OSError):
            print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def stage(name: str, total: int = 0, unit: str = "") -> Iterator[Callable[[int], None]]:
    """Reports work that may take long; gives a function that takes the count done so far.

    Args:
      name: what is done, as a participle: 'reading train.de', 'compiling the update'.
      total: the count at the end; 0 if unknown.
      unit: what is counted, in the plural: 'lines'.
    """
    count = 0

    def advance(done: int) -> None:
        nonlocal count
        count = done

    started = time.monotonic()
    ended = threading.Event()

    def report() -> None:
        wait = FIRST
        while not ended.wait(wait):
            say(f"{name}: {_state(count, total, unit, time.monotonic() - started)}")
            wait = NEXT

    reporter = threading.Thread(target=report, daemon=True, name=f"stage {name}")
    reporter.start()
    try:
        yield advance
    except BaseException:
        ended.set()
        raise
    ended.set()
    reporter.join()
    seconds = time.monotonic() - started
    if seconds >= FIRST:
        say(f"{name}: done in {write_seconds(seconds)}")


def _state(count: int, total: int, unit: str, seconds: float) -> str:
    """Writes how far a stage is: '120 of 400 lines, 8 s left', or the time that it has taken."""
    if not count:
        return f"{write_seconds(seconds)} so far"
    done = f"{count:,} of {total:,}" if total else f"{count:,}"
    done = f"{done} {unit}".rstrip()
    if count >= total:
        return f"{done}, {write_seconds(seconds)} so far"
    return f"{done}, {write_seconds(seconds * (total - count) / count)} left"


def write_seconds(seconds: float) -> str:
    """Writes a time in two units at most: '8 s', '2 min 10 s', '59 min', '3 h 12 min'."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"
