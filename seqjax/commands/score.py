"""`score`: lines in on standard input, the log probability of each of their tokens out as JSON."""

import argparse
import functools
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import ml_collections

from seqjax.commands.standard_streams import named_output
from seqjax.errors import UserError
from seqjax.files import run_path
from seqjax.line_input import LineInput
from seqjax.parallel.processes import shared
from seqjax.rules import quoted
from seqjax.tasks.declared import TASKS

if TYPE_CHECKING:
    import numpy as np

    from seqjax.tasks.task import Task
    from seqjax.training.trained import Trained

HELP = (
    "Prints the log probability of each token of given lines: texts for a language model, a source"
    " and a target with a tab between them for a translation."
)

# Lines that are scored together, at most, and seconds between two looks for input.
_CHUNK, _PATIENCE = 1000, 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--trial` and `--ensemble`."""
    parser.add_argument(
        "--trial",
        metavar="NAME",
        help="score by this trial of the sweep in WORKDIR; 'best': the first of its table",
    )
    parser.add_argument(
        "--ensemble",
        metavar="NAME,NAME,...",
        help="score by the runs WORKDIR/NAME as one model: the mean of their probabilities",
    )


def run(arguments: argparse.Namespace, config: ml_collections.ConfigDict) -> int:
    """Scores until standard input ends."""
    from seqjax.training.trained import load_trained

    _check_task(config)
    return _score(load_trained(arguments.workdir, config))


def run_ensemble(
    arguments: argparse.Namespace, configs: Mapping[str, ml_collections.ConfigDict]
) -> int:
    """Scores by several runs as one model."""
    from seqjax.training.trained import load_ensemble

    members = list(configs.values())
    _check_task(members[0])
    return _score(load_ensemble([run_path(arguments.workdir) / name for name in configs], members))


def _check_task(config: ml_collections.ConfigDict) -> None:
    if not TASKS[config.task].lines:
        known = quoted(tuple(name for name, task in TASKS.items() if task.lines))
        raise UserError(f"task = {config.task!r}: expected one that scores lines: {known}")


def _score(trained: "Trained") -> int:
    from seqjax.evaluation.token_scorer import TokenScorer

    task, scorer = trained.task, TokenScorer(trained.task, trained.mesh)
    reader: LineInput | None = None
    count = 0

    def read() -> list[str] | None:
        nonlocal reader
        reader = reader or LineInput(sys.stdin)
        return reader.take(_CHUNK, _PATIENCE)

    while (lines := shared(read)) is not None:
        if not lines:
            continue
        asked = [_asked(task, line, count + n) for n, line in enumerate(lines, start=1)]
        name = f"scoring lines {count + 1:,} to {count + len(lines):,}"
        found = scorer(trained.params, asked, name)
        shared(functools.partial(_print, task, lines, asked, found))
        count += len(lines)
    return 0


def _asked(task: "Task", line: str, number: int) -> dict[str, list[int]]:
    try:
        return task.ask(line)
    except ValueError as error:
        raise UserError(f"standard input:{number}: expected {error}") from error


def _print(
    task: "Task",
    lines: Sequence[str],
    asked: Sequence[dict[str, list[int]]],
    found: "Sequence[np.ndarray]",
) -> None:
    with named_output():
        for line, features, scores in zip(lines, asked, found, strict=True):
            print(json.dumps(_record(task, line, features, scores), ensure_ascii=False))
        sys.stdout.flush()


def _record(
    task: "Task", line: str, features: dict[str, list[int]], scores: "np.ndarray"
) -> dict[str, object]:
    role, ids = list(features.items())[-1]
    pieces = task.tokenizers[role].pieces(ids[task.before :])
    return {
        "line": line,
        "log_probability": float(scores.sum(dtype="float64")),
        "length": len(scores),
        "tokens": [
            {"token": piece, "log_probability": float(score)}
            for piece, score in zip(pieces, scores, strict=True)
        ],
    }
