"""`metrics.jsonl` of a run directory: one JSON object a line, 'step' (updates done) first.

Every `reporting.every` steps, over the updates since the line before:

    train/loss               cross entropy per target token, in nats, as validation/loss
    train/objective          what is minimized: the same with label smoothing
    train/learning_rate      of the last update
    train/gradient_norm      of the last update, before clipping
    train/epoch              passes over the corpus since the beginning
    train/tokens             target tokens since the beginning
    train/seconds            time of updates since the beginning, without evaluating and saving
    train/tokens_per_second  target tokens
    train/peak_share         FLOPs of matrix products as a share of the devices' peak; left out once
                             a measured peak has been exceeded

Every `evaluation.every` steps, on the validation split: validation/loss, perplexity, accuracy, the
metrics of `evaluation.metrics` and their signatures (strings).

A resumed run removes the lines of the steps that it does again. This file needs no JAX, since a
process that only watches trainings reads it too.
"""

import json
import os
from collections.abc import Iterator
from typing import Any

from seqjax.files import as_path

FILE = "metrics.jsonl"


def read_metrics(workdir: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yields the lines of a run in order, without broken ones; nothing if there is no file."""
    path = as_path(workdir) / FILE
    for line in path.read_bytes().splitlines() if path.exists() else ():
        entry = parse_line(line)
        if entry is not None:
            yield entry


def parse_line(line: bytes) -> dict[str, Any] | None:
    """Returns the object in a line, None for a line that a killed process left unfinished."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) and "step" in entry else None
