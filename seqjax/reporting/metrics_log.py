"""`metrics.jsonl` of a run directory: one JSON object a line, 'step' first.

It needs no JAX, since a process that only watches trainings reads it, too.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

from seqjax.files import as_path

FILE = "metrics.jsonl"


def read_metrics(workdir: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yields the lines of a run in order: none where there is no file, and none that is broken."""
    path = as_path(workdir) / FILE
    for line in path.read_bytes().splitlines() if path.exists() else ():
        entry = parse_line(line)
        if entry is not None:
            yield entry


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Returns what a line holds; None for what a process leaves that is killed while writing."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "step" in entry else None
