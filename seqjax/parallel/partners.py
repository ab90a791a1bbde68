"""Errors when another process of the same program vanishes.

Either a collective operation fails, or JAX notices, at once or after 100 seconds without a
heartbeat, and aborts this process: a native thread writes a stack trace and calls abort. Both are
reported in one line, with the exit code for 'try again'.
"""

import contextlib
import ctypes
import os
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator

from seqjax.errors import Unavailable

# Messages of collective operations that fail because a process is missing.
_FAILED = re.compile(
    r"Gloo|NCCL|Connection (closed|reset|refused)|Broken pipe|Socket closed|heartbeat"
    r"|coordination service|Barrier|UNAVAILABLE|DEADLINE_EXCEEDED",
    re.IGNORECASE,
)
# Beginnings of XLA messages, and of those about other processes.
_BEGINS = re.compile(rb"[IWEF]\d{4} \d\d:")
_ABOUT_OTHERS = re.compile(
    rb"[IWEF]\d{4} \S+\s+\d+ (coordination_service|preemption_sync|client\.h)"
)
_ENDS = b"the JAX distributed service detected fatal errors"
# Seconds to read the last messages of a process that aborts.
_MOMENT = 2.0

_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)


def lost(error: BaseException) -> BaseException:
    """Returns an error as `Unavailable` if another process caused it by vanishing."""
    import jax

    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, jax.errors.JaxRuntimeError) and _FAILED.search(str(cause)):
            return Unavailable(_message(str(cause).strip().splitlines()[0]))
        cause = cause.__cause__ or cause.__context__
    return error


def _message(reason: str) -> str:
    return (
        f"another process of this program has ended or cannot be reached ({reason});"
        " start all of them again, a training continues from its last checkpoint"
    )


class Partners:
    """While active, reports an abort by JAX because of another process in one line.

    A thread reads the standard error of native libraries and passes on everything except messages
    of JAX about other processes.
    """

    def __init__(self, report: Callable[[BaseException], int]):
        self._report = report
        self._code: int | None = None
        self._given_up = threading.Event()
        self._handler = _HANDLER(self._aborted)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Is active for the time of a block."""
        try:
            own = os.dup(2)
        except OSError:
            # There is no standard error.
            yield
            return
        reading, writing = os.pipe()
        before, sys.stderr = sys.stderr, os.fdopen(own, "w", buffering=1, errors="backslashreplace")
        os.dup2(writing, 2)
        os.close(writing)
        self._reader = threading.Thread(target=self._pass_on, args=(reading, own), daemon=True)
        self._reader.start()
        previous = _set_handler(signal.SIGABRT, ctypes.cast(self._handler, ctypes.c_void_p).value)
        try:
            yield
        finally:
            _set_handler(signal.SIGABRT, previous)
            with contextlib.suppress(OSError):
                sys.stderr.flush()
            os.dup2(own, 2)
            self._reader.join(_MOMENT)
            ours, sys.stderr = sys.stderr, before
            with contextlib.suppress(OSError):
                ours.close()

    def report(self, error: BaseException) -> int:
        """Reports an error; returns its exit code, which a later abort does not change."""
        self._code = self._report(error)
        return self._code

    def _aborted(self, _number: int) -> None:
        """Handles SIGABRT, in the thread that called abort."""
        if self._code is None:
            if not self._given_up.wait(_MOMENT):
                # The abort has another cause, which is reported elsewhere, and continues.
                _set_handler(signal.SIGABRT, None)
                return
            self._code = self._report(Unavailable(_message("JAX has given it up")))
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(self._code)

    def _pass_on(self, reading: int, own: int) -> None:
        dropping = False
        with os.fdopen(reading, "rb") as lines:
            for line in lines:
                if _ENDS in line:
                    self._given_up.set()
                if _BEGINS.match(line):
                    dropping = bool(_ABOUT_OTHERS.match(line))
                if not dropping:
                    with contextlib.suppress(OSError):
                        os.write(own, line)


def _set_handler(number: int, handler: int | None) -> int | None:
    """Sets a native signal handler, which needs no interpreter; returns the previous one."""
    libc = ctypes.CDLL(None)
    libc.signal.restype = ctypes.c_void_p
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    return libc.signal(number, handler)
