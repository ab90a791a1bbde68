"""Hypotheses of an evaluated split, kept in the run directory."""

from collections.abc import Sequence
from pathlib import Path

from seqjax.files import as_path
from seqjax.parallel.processes import is_first


def write_predictions(
    workdir: str | Path, split: str, step: int, hypotheses: Sequence[str]
) -> Path | None:
    """Writes one hypothesis a line to `predictions/<split>-<step>.txt`, in corpus order.

    Line breaks inside a hypothesis become spaces, so that line i stays example i. Only the first
    process writes; the others get None.
    """
    if not is_first():
        return None
    path = as_path(workdir) / "predictions" / f"{split.replace('/', '_')}-{step}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [one_line(text) + "\n" for text in hypotheses]
    path.write_bytes("".join(lines).encode())
    return path


def one_line(text: str) -> str:
    """Replaces line breaks by spaces."""
    return text.replace("\r", " ").replace("\n", " ")
