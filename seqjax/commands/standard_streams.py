"""Standard input, output and error, which a daemon or a scheduler may have closed."""

import contextlib
import fcntl
import os
import sys
from collections.abc import Iterator


def open_standard_streams() -> None:
    """Opens the null device in place of each standard stream that is closed.

    Otherwise the next file that is opened gets its number, and what is printed is written into it.
    A shell that was started without the stream may have put its script there, to be read.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if not _is_usable(number):
            null = os.open(os.devnull, os.O_RDWR)
            # The system gives the lowest number that is free, which may be this one.
            if null != number:
                os.dup2(null, number)
                os.close(null)
            # For the processes that are started from this one.
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))


@contextlib.contextmanager
def named_output() -> Iterator[None]:
    """Names standard output in an error of what is printed to it inside."""
    try:
        yield
    except OSError as error:
        error.filename = "standard output"
        raise


def _is_usable(number: int) -> bool:
    """Returns whether a descriptor is open, for writing if it is that of an output."""
    try:
        mode = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    except OSError:
        return False
    return mode in (os.O_RDWR, os.O_WRONLY if number else os.O_RDONLY)
