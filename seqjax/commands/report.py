"""`report`: what a run, or a sweep, has come to, as one page and a few lines."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from seqjax.errors import UserError, passes
from seqjax.files import as_path, path_option
from seqjax.stages import say, stage

HELP = (
    "Prints a summary of a run, and writes RUN/report.html: training curves, evaluations, sample"
    " outputs, the config with what differs from the defaults, and the environment. Of a sweep it"
    " prints the table of trials and writes SWEEP/results.html anew. The page needs no network."
    " Both work while a training runs, and only read; --output=FILE names the page, for instance"
    " if the folder cannot be written."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the folder and `--output`."""
    parser.epilog = None
    parser.add_argument(
        "folder",
        metavar="RUN",
        type=path_option("RUN"),
        nargs="?",
        default="",
        help="the folder of a run or of a sweep; --workdir=RUN is the same",
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        type=path_option("--output"),
        default="",
        help="the page; RUN/report.html or SWEEP/results.html without it",
    )


def run(arguments: argparse.Namespace, overrides: Sequence[tuple[str, str]]) -> int:
    """Prints the summary to standard output and writes the page.

    Raises:
      UserError: the folder holds neither a run nor a sweep, or the page cannot be written.
    """
    if overrides:
        field, text = overrides[0]
        raise UserError(f"--config.{field}={text}: expected no overrides; a report only reads")
    named = [name for name in (arguments.folder, arguments.workdir) if name]
    if len(named) != 1:
        given = f"both {named[0]} and --workdir={named[1]} were" if named else "neither was"
        raise UserError(f"report: expected one folder, RUN or --workdir=RUN; {given} given")
    folder = as_path(named[0])
    if (folder / "config.json").is_file():
        return _report_run(folder, arguments.output)
    if (folder / "study.json").is_file():
        return _report_sweep(folder, arguments.output)
    raise UserError(f"{folder}: expected a run (with config.json) or a sweep (with study.json)")


def _report_run(folder: Path, output: str) -> int:
    from seqjax.training.run_report import PAGE, read_run, run_summary, write_run_page

    with stage(f"reading {folder}"):
        report = read_run(folder)
    print("\n".join(run_summary(report)))
    return _write(output, folder / PAGE, lambda path: write_run_page(path, report))


def _report_sweep(folder: Path, output: str) -> int:
    from seqjax.studies.page import PAGE, study_summary, write_study_page
    from seqjax.studies.snapshot import read_snapshot
    from seqjax.studies.tables import markdown

    with stage(f"reading {folder}"):
        study = read_snapshot(folder)
    print(f"{markdown(folder, study)}\n{study_summary(study)}")
    return _write(output, folder / PAGE, lambda path: write_study_page(path, folder, study))


def _write(output: str, usual: Path, write: Callable[[Any], None]) -> int:
    """Writes the page; what has been printed by then is not lost if that fails."""
    path = as_path(output) if output else usual
    try:
        with stage(f"writing {path}"):
            write(path)
    except OSError as error:
        if passes(error):
            raise
        hint = "" if output else "; --output=FILE writes the page elsewhere"
        raise UserError(f"{path}: {error.strerror or error}{hint}") from error
    say(f"report: {path}")
    return 0
