"""Ctrl-C and SIGTERM, turned into a request that the loop answers between two steps or batches."""

import signal
import threading

import jax

from seqjax.parallel.processes import all_leave


class Interrupted(Exception):
    """What is under way is given up, since training is to end."""


class Interruption:
    """While active, remembers the first signal instead of dying of it; a second Ctrl-C kills.

    Of several processes JAX takes the SIGTERM that any of them gets, and lets all of them stop
    after the same step; a Ctrl-C is handed on as one.
    """

    def __init__(self):
        self._signal = ""
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interruption":
        numbers = [signal.SIGINT]
        if jax.process_count() == 1:
            numbers.append(signal.SIGTERM)
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
        if jax.process_count() > 1:
            signal.raise_signal(signal.SIGTERM)
