"""What becomes of a process when another one of the same program vanishes.

Either an operation that all take part in fails, or JAX notices, at once or when the other has sent
no heartbeat for 100 seconds, and ends this process: a thread below Python writes a stack trace and
calls abort. Both become an error in one line, with an exit code that says to try again.
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

# What an operation among processes says that fails for want of one of them.
_FAILED = re.compile(
    r"Gloo|NCCL|Connection (closed|reset|refused)|Broken pipe|Socket closed|heartbeat"
    r"|coordination service|Barrier|UNAVAILABLE|DEADLINE_EXCEEDED",
    re.IGNORECASE,
)
# How a message of XLA begins, and one about other processes.
_BEGINS = re.compile(rb"[IWEF]\d{4} \d\d:")
_ABOUT_OTHERS = re.compile(
    rb"[IWEF]\d{4} \S+\s+\d+ (coordination_service|preemption_sync|client\.h)"
)
_ENDS = b"the JAX distributed service detected fatal errors"
# Seconds in which the last message of a process that aborts has been read.
_MOMENT = 2.0

_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)


def lost(error: BaseException) -> BaseException:
    """Returns an error as `Unavailable` if it comes from another process that is gone."""
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
    """While active, this process ends in one line when JAX gives up on another one.

    Standard error of the libraries below Python is read by a thread, which passes everything on
    but what JAX writes about other processes.
    """

    def __init__(self, tell: Callable[[BaseException], int]):
        self._tell = tell
        self._code: int | None = None
        self._given_up = threading.Event()
        self._handler = _HANDLER(self._aborted)

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Watches for the time of a block."""
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
            sys.stderr.flush()
            os.dup2(own, 2)
            self._reader.join(_MOMENT)
            ours, sys.stderr = sys.stderr, before
            ours.close()

    def tell(self, error: BaseException) -> int:
        """Reports an error; returns the exit code, which an abort while leaving does not change."""
        self._code = self._tell(error)
        return self._code

    def _aborted(self, _number: int) -> None:
        """Handles SIGABRT, in whatever thread called abort."""
        if self._code is None:
            if not self._given_up.wait(_MOMENT):
                # Something else is wrong, and says so: the abort goes on.
                _set_handler(signal.SIGABRT, None)
                return
            self._code = self._tell(Unavailable(_message("JAX has given it up")))
        sys.stdout.flush()
        sys.stderr.flush()
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
    """Sets a signal's handler below Python, which need not wait for Python; returns the old one."""
    libc = ctypes.CDLL(None)
    libc.signal.restype = ctypes.c_void_p
    libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    return libc.signal(number, handler)
