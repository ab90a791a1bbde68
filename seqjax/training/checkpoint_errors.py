"""What goes wrong with checkpoints: damage, or a disk, a network or a memory that fails."""

import functools
import os
import re
import sys


def is_damage(error: Exception) -> bool:
    """Returns whether an error shows a broken checkpoint, not a failing disk, network or memory."""
    error = underlying(error)
    if isinstance(error, OSError):
        return isinstance(error, FileNotFoundError)
    return not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error)


def underlying(error: Exception) -> Exception:
    """Returns the system's or the network's error that TensorStore reports in words, if any."""
    if isinstance(error, OSError):
        return error
    text = str(error)
    if found := re.search(r"os_error_code='(\d+)'", text):
        number = int(found[1])
        # OSError of a number is one of its kinds, such as FileNotFoundError.
        return OSError(number, os.strerror(number))
    if text.startswith(("UNAVAILABLE", "DEADLINE_EXCEEDED")):
        return TimeoutError(text)
    if text.startswith(("PERMISSION_DENIED", "UNAUTHENTICATED")):
        return PermissionError(text)
    return error


def in_one_line(error: Exception) -> str:
    """Returns the first line of an error, at most 200 characters."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200].rstrip()


@functools.cache
def hush_late_reads() -> None:
    """Suppresses the errors of reads that end after Orbax has given up a broken checkpoint.

    TensorStore hands them to an event loop that is closed by then, with a traceback each.
    """
    before = sys.unraisablehook

    def hook(event):
        late = isinstance(event.exc_value, RuntimeError) and event.object is None
        if not late or str(event.exc_value) != "Event loop is closed":
            before(event)

    sys.unraisablehook = hook
