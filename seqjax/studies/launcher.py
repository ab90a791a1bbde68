"""Runs a verb in its own process, with its own memory, devices and failures."""

import contextlib
import ctypes
import os
import queue
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import seqjax
from seqjax.stages import say

# The last line of an error from seqjax or Python; JAX prints more after it.
_ERROR = re.compile(r"seqjax: error: |[A-Za-z_][\w.]*(Error|Exception)\b")
# Seconds between checks whether a wait is to end.
_LOOK = 0.2
# The environment variable with the launcher's process id.
_PARENT = "SEQJAX_PARENT"
# A lost terminal, and what schedulers send before a time limit.
_AS_SIGTERM = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
# From <linux/prctl.h>.
_PR_SET_PDEATHSIG = 1


class Outcome(NamedTuple):
    """How a verb ended.

    Attributes:
      code: its exit code, -n if signal n killed it.
      output: its standard output.
      complaint: the last line of its standard error that reports an error, or else the last one.
      signal: number of the signal that this process received meanwhile, 0 for none.
    """

    code: int
    output: str
    complaint: str
    signal: int = 0


class Launcher:
    """Runs verbs, each in a process, from as many threads as want to.

    While it is active, Ctrl-C, SIGTERM, SIGHUP and the warnings of schedulers are passed on to all
    of them, so that a training saves before it exits, and no new process is started. The processes
    also end if an exception ends the waiting and, on Linux, if this process is killed.
    """

    def __init__(self, environments: Sequence[Mapping[str, str]] = ()):
        """Sets additional environment variables for the processes.

        Args:
          environments: one for each process that runs at a time; empty if there is nothing to set.
        """
        self.signal = 0
        self._shared = not environments
        self._free: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
        for environment in environments:
            self._free.put(environment)
        self._received: list[int] = []
        # How many of the received signals each process was sent.
        self._sent: dict[subprocess.Popen, int] = {}
        # A signal may come while its own thread holds the lock.
        self._lock = threading.RLock()
        self._previous: dict[signal.Signals, object] = {}

    def __enter__(self) -> "Launcher":
        # Python delivers signals to the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, *_AS_SIGTERM):
                # nohup has hangups ignored, here and in the process.
                if number not in _AS_SIGTERM or signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def __call__(
        self,
        arguments: Sequence[str],
        stop: threading.Event | None = None,
        show: Callable[[str], None] = say,
    ) -> Outcome:
        """Runs `seqjax ARGUMENTS` and waits.

        Args:
          arguments: the verb and its options.
          stop: when it is set, the process gets SIGTERM.
          show: gets each line of its standard error as it comes.
        """
        if self.signal:
            return Outcome(128 + self.signal, "", "", self.signal)
        with tempfile.TemporaryFile() as output, self._environment() as environment:
            process = _start(arguments, output, environment)
            child = _Child(process, stop)
            try:
                with self._handed_on(process):
                    complaint = child.follow(show)
                    code = child.wait()
            finally:
                _end(process)
            output.seek(0)
            return Outcome(code, output.read().decode(), complaint, self.signal)

    @contextlib.contextmanager
    def _environment(self) -> Iterator[Mapping[str, str]]:
        if self._shared:
            yield {}
            return
        environment = self._free.get()
        try:
            yield environment
        finally:
            self._free.put(environment)

    @contextlib.contextmanager
    def _handed_on(self, process: subprocess.Popen) -> Iterator[None]:
        with self._lock:
            self._sent[process] = 0
            self._deliver(process)
        try:
            yield
        finally:
            with self._lock:
                del self._sent[process]

    def _receive(self, number: int, _frame: object) -> None:
        with self._lock:
            self.signal = self.signal or number
            # Every verb leaves cleanly on SIGTERM; of the others only a training does.
            self._received.append(signal.SIGTERM if number in _AS_SIGTERM else number)
            for process in self._sent:
                self._deliver(process)

    def _deliver(self, process: subprocess.Popen) -> None:
        while self._sent[process] < len(self._received):
            self._sent[process] += 1
            process.send_signal(self._received[self._sent[process] - 1])


def end_with_launcher() -> None:
    """Sends this process SIGTERM when its launcher dies (Linux only).

    A killed sweep cannot pass on a signal, and the worker that continues its trial must not find
    the old training in the same run directory.
    """
    launcher = os.environ.pop(_PARENT, "")
    if launcher and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != int(launcher):
            sys.exit(128 + signal.SIGTERM)


def _start(arguments: Sequence[str], output, environment: Mapping[str, str]) -> subprocess.Popen:
    folder = str(Path(seqjax.__file__).parents[1])
    paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", "seqjax", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            **environment,
            "PYTHONPATH": os.pathsep.join(paths),
            _PARENT: str(os.getpid()),
        },
        # A terminal sends Ctrl-C to the whole session: it would come twice.
        start_new_session=True,
    )


class _Child:
    """A process that is followed until it ends; on request it is ended, and saves first."""

    def __init__(self, process: subprocess.Popen, stop: threading.Event | None):
        self._process, self._stop = process, stop or threading.Event()
        self._stopped = False

    def follow(self, show: Callable[[str], None]) -> str:
        """Shows standard error line by line; returns the complaint."""
        error = last = ""
        begun = b""
        stream = self._process.stderr
        while True:
            if not select.select([stream], [], [], _LOOK)[0]:
                self._look()
                continue
            chunk = os.read(stream.fileno(), 1 << 16)
            *lines, begun = (begun + chunk).split(b"\n")
            if not chunk and begun:
                lines.append(begun)
            for line in (raw.decode(errors="replace") for raw in lines):
                show(line)
                last = line.strip() or last
                error = last if _ERROR.match(line) else error
            if not chunk:
                return error or last

    def wait(self) -> int:
        """Returns the exit code."""
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._process.wait(_LOOK)
            self._look()

    def _look(self) -> None:
        if self._stop.is_set() and not self._stopped:
            self._stopped = True
            self._process.terminate()


def _end(process: subprocess.Popen) -> None:
    """Ends a process that still runs, and waits until it has saved."""
    if process.poll() is None:
        process.terminate()
        # What it says must be read, or it would wait at a full pipe.
        process.communicate()
