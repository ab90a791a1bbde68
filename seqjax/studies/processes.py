"""A verb in a process of its own, so that memory, devices and failures are its own, too."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import seqjax

# How seqjax and Python end the tale of a failure; JAX says more after that.
_ERROR = re.compile(r"seqjax: error: |[A-Za-z_][\w.]*(Error|Exception)\b")


class Outcome(NamedTuple):
    """How a verb ended.

    Attributes:
      code: its exit code, -n where signal n killed it.
      output: its standard output.
      complaint: the last line of its standard error that tells an error, or else the last one.
      signal: number of the signal that the waiting process got meanwhile, 0 for none.
    """

    code: int
    output: str
    complaint: str
    signal: int = 0


def launch(arguments: Sequence[str]) -> Outcome:
    """Runs `seqjax ARGUMENTS` and waits; its standard error is shown as it comes.

    Ctrl-C, SIGTERM and a lost terminal are handed on, so that a training saves before it leaves;
    it leaves, too, where an exception ends the waiting.
    """
    folder = str(Path(seqjax.__file__).parents[1])
    paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryFile() as output, _HandOn() as handed_on:
        process = subprocess.Popen(
            [sys.executable, "-m", "seqjax", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # A terminal sends Ctrl-C to the whole session: it would come twice.
            start_new_session=True,
        )
        try:
            handed_on.attach(process)
            complaint = _show(process)
            code = process.wait()
        finally:
            _end(process)
        output.seek(0)
        return Outcome(code, output.read().decode(), complaint, handed_on.signal)


def _end(process: subprocess.Popen) -> None:
    """Ends a process that still runs, and waits until it has saved."""
    if process.poll() is None:
        process.terminate()
        # What it says must be read, or it would wait at a full pipe.
        process.communicate()


def _show(process: subprocess.Popen) -> str:
    """Copies standard error line by line; returns the complaint."""
    error = last = ""
    for raw in process.stderr:
        line = raw.decode(errors="replace")
        print(line, end="", file=sys.stderr, flush=True)
        last = line.strip() or last
        error = last if _ERROR.match(line) else error
    return error or last


class _HandOn:
    """While active, sends signals on to a process, once there is one, and remembers the first."""

    def __init__(self):
        self.signal = 0
        self._process: subprocess.Popen | None = None
        self._early: list[int] = []
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "_HandOn":
        # Python delivers signals to the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                # nohup has hangups ignored, here and in the process.
                if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._send)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def attach(self, process: subprocess.Popen) -> None:
        """Names the process, and sends what came before it ran."""
        self._process = process
        while self._early:
            process.send_signal(self._early.pop(0))

    def _send(self, number: int, _frame: object) -> None:
        self.signal = self.signal or number
        # A training saves on SIGTERM; of a hangup it would die.
        number = signal.SIGTERM if number == signal.SIGHUP else number
        if self._process is None:
            self._early.append(number)
        else:
            self._process.send_signal(number)
