"""Commands that are printed for the user to paste into a shell."""

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

import seqjax


def command_line(arguments: Iterable[object]) -> str:
    """Returns the command that runs a verb with its options, quoted for a shell."""
    return shlex.join([*_program(), *map(str, arguments)])


def _program() -> tuple[str, ...]:
    """Returns what this process was started by, as it runs from the current folder."""
    name = Path(sys.argv[0]).name
    if name == "launch.py":
        return ("python", sys.argv[0])
    if name == "seqjax":
        return ("seqjax",)
    # A trial is started as a module by its sweep, mostly from a checkout.
    in_checkout = (Path(seqjax.__file__).parents[1] / "launch.py").is_file()
    return ("python", "launch.py") if in_checkout else ("python", "-m", "seqjax")
