"""Signals that end a training, turned into a request.

The loop answers it between two steps, an evaluation between two batches. SIGINT is Ctrl-C, SIGTERM
what schedulers send, SIGHUP that the terminal is gone; SIGUSR1, SIGUSR2 and SIGXCPU are how
schedulers warn before a time limit (`sbatch --signal=USR1@120`).
"""

import contextlib
import os
import signal
import sys
import threading

import jax

from seqjax.parallel.processes import all_leave

# What schedulers send before a time limit.
_WARNINGS = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


class Interrupted(Exception):
    """What is under way is given up, since training is to end."""


def _output_files() -> set[int]:
    """Returns the numbers of the files that this process prints to."""
    numbers = {1, 2}
    for stream in (sys.stdout, sys.stderr):
        # A stream may be closed, or no file.
        with contextlib.suppress(AttributeError, OSError, ValueError):
            numbers.add(stream.fileno())
    return numbers


class Interruption:
    """While active, remembers the first signal instead of dying of it; a second Ctrl-C kills.

    Of several processes JAX takes the SIGTERM that any of them gets, and lets all of them stop
    after the same step; other signals are handed on as one. A SIGHUP that is ignored, as under
    nohup, stays ignored.
    """

    def __init__(self):
        self._signal = ""
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interruption":
        numbers = [signal.SIGINT]
        if jax.process_count() == 1:
            numbers.append(signal.SIGTERM)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            numbers.append(signal.SIGHUP)
        # Somebody else's handler stays.
        numbers += [n for n in _WARNINGS if signal.getsignal(n) == signal.SIG_DFL]
        # Asked now: a terminal that is gone is none any more.
        self._terminals = [number for number in _output_files() if os.isatty(number)]
        # Python delivers signals to the main thread only; elsewhere there is nothing to catch.
        if threading.current_thread() is threading.main_thread():
            for number in numbers:
                self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def after(self, step: int) -> str:
        """Returns the name of the signal that ends training after this step, '' for none.

        Ask once after every step.
        """
        if jax.process_count() == 1:
            return self._signal
        return "SIGTERM" if all_leave(step) else ""

    def ask(self) -> None:
        """Ends training as a SIGTERM does."""
        self._remember(signal.SIGTERM, None)

    def check(self) -> None:
        """Raises Interrupted where training is to end; several processes ask `after` only."""
        if self._signal and jax.process_count() == 1:
            raise Interrupted

    def _remember(self, number: int, _frame: object) -> None:
        if self._signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._signal = signal.Signals(number).name
        if number == signal.SIGHUP:
            self._leave_terminal()
        if jax.process_count() > 1:
            signal.raise_signal(signal.SIGTERM)

    def _leave_terminal(self) -> None:
        """Sends to nowhere what would go to the lost terminal: that would fail before the save."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for number in self._terminals:
            os.dup2(nowhere, number)
        os.close(nowhere)
