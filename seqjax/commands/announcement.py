"""The line that says what has been started, while the libraries are still being imported."""

import argparse
import contextlib
import os
import threading
from collections.abc import Iterator

import seqjax
from seqjax.stages import say

# Mistakes are mostly found before, and are one line by themselves.
_SECONDS = 0.4
# Where launchers of several processes say which one this is.
_RANKS = ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "JOB_COMPLETION_INDEX")


@contextlib.contextmanager
def announced(verb: str, arguments: argparse.Namespace) -> Iterator[None]:
    """Prints the line soon, unless the work is over by then or another process prints it."""
    timer = threading.Timer(_SECONDS, say, [announcement(verb, arguments)])
    timer.daemon = True
    if _is_first(arguments):
        timer.start()
    try:
        yield
    finally:
        timer.cancel()


def announcement(verb: str, arguments: argparse.Namespace) -> str:
    """Returns `seqjax VERSION: VERB FILE in FOLDER`."""
    file = getattr(arguments, "config", "") or getattr(arguments, "study", "")
    folder = f"in {arguments.workdir}" if arguments.workdir else ""
    return f"seqjax {seqjax.__version__}: {' '.join(filter(None, (verb, file, folder)))}"


def _is_first(arguments: argparse.Namespace) -> bool:
    """Returns whether this process prints for all, before they have joined."""
    if getattr(arguments, "processes", "1") == "auto":
        return next((os.environ[name] for name in _RANKS if name in os.environ), "0") == "0"
    return getattr(arguments, "process", -1) < 1
