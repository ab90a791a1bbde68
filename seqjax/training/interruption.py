"""Ctrl-C and SIGTERM, turned into a request that the loop answers between two steps."""

import signal
import threading


class Interruption:
    """While active, remembers the first signal instead of dying of it; a second Ctrl-C kills.

    Attributes:
      signal: name of the signal received, '' so far none.
    """

    def __init__(self):
        self.signal = ""
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Interruption":
        # Python delivers signals to the main thread only; elsewhere there is nothing to catch.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._remember)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _remember(self, number: int, _frame: object) -> None:
        if self.signal and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number).name
