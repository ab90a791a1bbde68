"""Standard input, output and error, which a daemon or a scheduler may have closed."""

import os
import sys


def open_standard_streams() -> None:
    """Opens the null device in place of each standard stream that is closed.

    Otherwise the next file that is opened gets its number, and what is printed is written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            # The system gives the lowest number that is free.
            os.open(os.devnull, os.O_RDWR)
            # For the processes that are started from this one.
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))
