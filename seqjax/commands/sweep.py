"""`sweep`: trains and evaluates the trials of a study, and sets up their table."""

import argparse
import os
import shlex
from collections.abc import Sequence

from seqjax.studies.processes import launch
from seqjax.studies.study import load_study
from seqjax.studies.sweep import Sweep

HELP = (
    "Trains and evaluates the trials of a study, each in WORKDIR/TRIAL and in a process of its own,"
    " and writes WORKDIR/results.md and results.csv. A trial that fails does not keep the others"
    " from running; the same command goes on where it was stopped. A trial that was begun with"
    " another config is refused: it needs another --workdir."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--study`, `--trial` and `--dry_run`."""
    parser.add_argument(
        "--study",
        metavar="FILE",
        type=os.path.expanduser,
        required=True,
        help="Python file with get_study()",
    )
    parser.add_argument(
        "--trial",
        metavar="NAME",
        action="append",
        default=[],
        help="run this trial only; may be given several times",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="print what would run, and run nothing"
    )


def run(arguments: argparse.Namespace, overrides: Sequence[tuple[str, str]]) -> int:
    """Runs the trials and prints their table; `overrides` hold for each of them.

    Returns:
      0 when all of them are done, 1 when some failed, 128 + n when signal n ended it.
    """
    study = load_study(arguments.study)
    names = study.chosen(arguments.trial)
    sweep = Sweep(study, arguments.study, arguments.workdir, overrides, launch)
    if arguments.dry_run:
        for name in names:
            state = sweep.state(name)
            print(f"{name}: {state}")
            if state.startswith("to "):
                for command in sweep.commands(name):
                    print(f"  python launch.py {shlex.join(command)}")
        return 0
    code = sweep.run(names)
    print(sweep.write(), end="")
    return code
