"""The one exception that a user's mistake may raise."""


class UserError(Exception):
    """A mistake in what the user gave: what is wrong, where, and what would be accepted.

    The message is one line. `launch.py` prints it to standard error without a
    traceback and leaves with exit code 2; any other exception is a bug.
    """
