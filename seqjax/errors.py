"""The exceptions for what a user can mend or retry, and the nearest known name."""

import difflib
import errno
from collections.abc import Iterable


class UserError(Exception):
    """A mistake in what the user gave: what is wrong, where, and what would be accepted.

    The message is one line. `launch.py` prints it to standard error without a traceback and exits
    with code 2. Any other exception is a bug.
    """


class Unavailable(UserError):
    """Something is missing that may come back: `launch.py` exits with code 75, to be retried."""


_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EHOSTUNREACH)


def passes(error: Exception) -> bool:
    """Returns whether an error may be over later, as a full disk or a lost network is."""
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    return isinstance(error, OSError) and error.errno in _PASSING


def as_user_error(error: Exception, message: str) -> UserError:
    """Returns the exception to raise for an error: `Unavailable` if it may be over later."""
    return (Unavailable if passes(error) else UserError)(message)


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """Returns `"; did you mean 'NAME'?"` for the known name nearest to the given one, else `""`."""
    nearest = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
