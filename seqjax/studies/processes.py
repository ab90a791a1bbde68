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

    Ctrl-C and SIGTERM are handed on, so that a training saves before it leaves.
    """
    folder = str(Path(seqjax.__file__).parents[1])
    paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "seqjax", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            # A terminal sends Ctrl-C to the whole session: it would come twice.
            start_new_session=True,
        )
        with _HandOn(process) as handed_on:
            complaint = _show(process)
            code = process.wait()
        output.seek(0)
        return Outcome(code, output.read().decode(), complaint, handed_on.signal)


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
    """While active, sends Ctrl-C and SIGTERM on to a process, and remembers the first."""

    def __init__(self, process: subprocess.Popen):
        self.signal = 0
        self._process = process
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "_HandOn":
        # Python delivers signals to the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._send)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _send(self, number: int, _frame: object) -> None:
        self.signal = self.signal or number
        self._process.send_signal(number)
