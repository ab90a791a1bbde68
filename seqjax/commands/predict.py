"""`predict`: lines in on standard input, lines out on standard output, one for one."""

import argparse
import functools
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

import ml_collections

from seqjax.commands import continuing, translating
from seqjax.commands.standard_streams import named_output
from seqjax.errors import UserError
from seqjax.files import path_option, run_path
from seqjax.line_input import LineInput
from seqjax.parallel.processes import is_alone, shared
from seqjax.rules import quoted
from seqjax.tasks.declared import TASKS

if TYPE_CHECKING:
    from seqjax.training.trained import Trained

HELP = "Translates or continues standard input line by line."

# Seconds between two looks for input.
_PATIENCE = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--trial`, `--n_best`, `--samples`, `--attention` and `--ensemble`."""
    parser.add_argument(
        "--trial",
        metavar="NAME",
        help="answer by this trial of the sweep in WORKDIR; 'best': the first of its table",
    )
    parser.add_argument(
        "--n_best",
        type=int,
        metavar="N",
        help="print the N best outputs of each line with their scores, as JSON lines",
    )
    parser.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help="language models: print N continuations of each line, as JSON lines",
    )
    parser.add_argument(
        "--attention",
        metavar="DIR",
        type=path_option("--attention"),
        help="draw the attention of each line's best output as DIR/LINE.png, with the weights in"
        " DIR/LINE.json; an empty line has none",
    )
    parser.add_argument(
        "--ensemble",
        metavar="NAME,NAME,...",
        help="answer by the runs WORKDIR/NAME as one model: the mean of their probabilities",
    )


class Answering(Protocol):
    """What a task does with lines.

    Attributes:
      most: lines that it takes at a time.
      live: whether the answer to a line may be shown in parts.
    """

    most: int
    live: bool

    def __call__(self, lines: Sequence[str]) -> list[str]:
        """Returns what is printed for each line."""

    def parts(self, line: str) -> Iterator[str]:
        """Yields the answer to a line while it is made, if `live`."""

    def printed(self) -> None:
        """Is called when what is printed for some lines has been printed."""

    def finish(self) -> None:
        """Is called at the end of the input."""


def run(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> int:
    """Answers until standard input ends."""
    from seqjax.training.trained import load_trained

    _kind_of(config).check_options(arguments, config)
    return _answer(arguments, load_trained(arguments.workdir, config))


def run_ensemble(
    arguments: argparse.Namespace, configs: Mapping[str, ml_collections.ConfigDict]
) -> int:
    """Answers by several runs as one model."""
    from seqjax.training.trained import load_ensemble

    members = list(configs.values())
    if arguments.attention is not None:
        raise UserError("--attention: expected one run, since an ensemble has no attention")
    _kind_of(members[0]).check_options(arguments, members[0])
    folders = [run_path(arguments.workdir) / name for name in configs]
    return _answer(arguments, load_ensemble(folders, members))


def _kind_of(config: ml_collections.ConfigDict) -> ModuleType:
    """Returns the module that answers lines as the task of a config does."""
    kinds = {"translating": translating, "continuing": continuing}
    if (lines := TASKS[config.task].lines) not in kinds:
        known = quoted(tuple(name for name, task in TASKS.items() if task.lines))
        raise UserError(f"task = {config.task!r}: expected one that answers lines: {known}")
    return kinds[lines]


def _answer(arguments: argparse.Namespace, trained: "Trained") -> int:
    answering: Answering = _kind_of(trained.task.config).Answers(arguments, trained)
    reader: LineInput | None = None

    def read() -> list[str] | None:
        nonlocal reader
        reader = reader or LineInput(sys.stdin)
        return reader.take(answering.most, _PATIENCE)

    live = answering.live and is_alone() and sys.stdout is not None and sys.stdout.isatty()
    while (lines := shared(read)) is not None:
        if not lines:  # Input pauses; asked so often, no process waits too long for another.
            continue
        if live:
            for line in lines:
                _show(answering.parts(line))
            continue
        shared(functools.partial(_print, answering(lines)))
        answering.printed()
    answering.finish()
    return 0


def _show(parts: Iterator[str]) -> None:
    """Writes an answer to a terminal while it is made, with its line breaks."""
    with named_output():
        for part in itertools.chain(parts, "\n"):
            print(part, end="", flush=True)


def _print(lines: Sequence[str]) -> None:
    """Writes the answers to some lines; they have left this process when it returns."""
    with named_output():
        print("".join(f"{line}\n" for line in lines), end="", flush=True)
