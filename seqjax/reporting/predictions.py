"""Hypotheses of an evaluated split, kept in the run directory."""

from collections.abc import Sequence
from pathlib import Path

from seqjax.files import as_path, write_side_file
from seqjax.parallel.processes import is_first


def write_predictions(
    workdir: str | Path, split: str, step: int, hypotheses: Sequence[str]
) -> Path | None:
    """Writes one hypothesis a line to `predictions/SPLIT-STEP.txt`, in corpus order.

    Line breaks inside a hypothesis become spaces, so that line i stays example i. Only the first
    process writes. Returns the path; None in the other processes and after a failure, which is a
    warning: the metrics must not be lost with the file.
    """
    if not is_first():
        return None
    path = as_path(workdir) / "predictions" / f"{file_stem(split, step)}.txt"
    lines = [one_line(text) + "\n" for text in hypotheses]
    return path if write_side_file(path, "".join(lines)) else None


def file_stem(split: str, step: int) -> str:
    """Returns what the files of an evaluation are called, without a suffix."""
    return f"{split.replace('/', '_')}-{step}"


def one_line(text: str) -> str:
    """Replaces line breaks by spaces."""
    return text.replace("\r", " ").replace("\n", " ")
