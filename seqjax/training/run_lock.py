"""One training at a time in a run directory."""

import contextlib
import errno
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from seqjax.errors import UserError
from seqjax.files import in_bucket
from seqjax.stages import say

_FILE = ".lock"
# What locking says where another process has the lock.
_HELD = (errno.EACCES, errno.EAGAIN)
# Seconds between two looks whether it is free.
_PAUSE = 0.5


@contextlib.contextmanager
def locked(workdir: Path, patience: float = 60.0) -> Iterator[None]:
    """Holds a run directory, for which another training there is given a time to end.

    The lock is the operating system's and goes with its process, however that ends. Where a file
    system has no locks, as in a bucket, nothing is held.

    Args:
      workdir: an existing run directory.
      patience: seconds; a job that is stopped has as long to save its state.

    Raises:
      UserError: another process trains there still.
    """
    if in_bucket(workdir):
        yield
        return
    path = workdir / _FILE
    with _wait(path, patience) as file:
        file.truncate(0)
        file.write(f"process {os.getpid()} on {platform.node()}\n")
        file.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_locked(workdir: Path) -> bool:
    """Returns whether a training runs in a run directory now; always False in a bucket.

    It only reads, so it works in a directory that cannot be written. The process that trains must
    not ask: closing the file would release its own lock.
    """
    if in_bucket(workdir):
        return False
    try:
        import fcntl

        with (workdir / _FILE).open("rb") as file:
            fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except ImportError:
        return False
    except OSError as error:
        return error.errno in _HELD
    return False


def _wait(path: Path, patience: float) -> TextIO:
    """Returns a file that is locked, or says who has it."""
    workdir, deadline, reported = path.parent, time.monotonic() + patience, False
    while True:
        file = path.open("a+", encoding="utf-8")
        if _lock(file):
            if _is_at(path, file):
                return file
            # It was removed by its holder just now.
            file.close()
            continue
        file.seek(0)
        holder = file.read().strip() or "another process"
        file.close()
        if time.monotonic() > deadline:
            raise UserError(
                f"{workdir}: expected no other training, but {holder} trains there; stop it, or"
                " choose a new --workdir"
            )
        if not reported:
            say(f"{workdir}: waiting until {holder} has left it", always=True)
        reported = True
        time.sleep(_PAUSE)


def _lock(file: TextIO) -> bool:
    """Locks a file where locks are to be had; returns whether nobody else has locked it."""
    try:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return True
    except OSError as error:
        return error.errno not in _HELD
    return True


def _is_at(path: Path, file: TextIO) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
