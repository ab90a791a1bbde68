"""The exception that a user's mistake raises, what passes by itself, and the nearest known name."""

import difflib
import errno
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user gave: what is wrong, where, and what would be accepted.

    The message is one line. `launch.py` prints it to standard error without a
    traceback and leaves with exit code 2; any other exception is a bug.
    """


class Unavailable(UserError):
    """Something is away that may come back: `launch.py` leaves with exit code 75, to be retried."""


_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EHOSTUNREACH)


def passes(error: Exception) -> bool:
    """Tells what may be over later, a full disk or a network that is away, from what stays."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _PASSING


def told(error: Exception, message: str) -> UserError:
    """Returns what is raised with a message for an error: `Unavailable` where that passes."""
    return (Unavailable if passes(error) else UserError)(message)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Returns `"; did you mean 'NAME'?"` for the known name nearest to the given one, else `""`."""
    nearest = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
