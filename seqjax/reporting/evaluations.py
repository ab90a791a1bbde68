"""Evaluations that are kept in a run directory: `evaluations/SPLIT[-CHANGES]-STEP.json`.

Each file has the name of the hypotheses in `predictions/`, and holds one object:

    {
      "date": "2026-11-30T22:17:34+00:00",     UTC, when the evaluation ended
      "seqjax": "0.1.0",                       version
      "split": "test",
      "step": 500,                             of the newest checkpoint that was used
      "checkpoints": {"runs/demo": [250, 500]},  run directory -> steps, averaged if several
      "changes": {"decode.beam_size": 5},      fields that differ from the run's config.json
      "settings": {"decode.beam_size": 5, ...},  every field of `decode` and `evaluation`
      "corpus": {"examples": 1000, "sources": "9f...", "references": "c0..."},  digests
      "predictions": "predictions/test-beam_size-5-500.txt",  '' if they could not be written
      "samples": [{"source": "...", "reference": "...", "output": "..."}, ...],  the first five
      "result": {...}                          what `evaluate` prints, with all digits
    }

An ensemble's evaluation lies in the folder that holds its members; it has one entry in
`checkpoints` for each member. Its `changes` and `settings` are those of its first member.

Nothing here imports JAX: a process that only lists evaluations reads them, too.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import seqjax
from seqjax.data.record import digest
from seqjax.files import as_path, write_side_file

_FOLDER = "evaluations"


def write_evaluation(workdir: str | Path, stem: str, record: Mapping[str, Any]) -> Path | None:
    """Writes `evaluations/STEM.json`, with the date and the version before the given facts.

    Returns the path, or None after a failure, which is a warning.
    """
    path = as_path(workdir) / _FOLDER / f"{stem}.json"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"date": now, "seqjax": seqjax.__version__, **record}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    return path if write_side_file(path, text) else None


def read_evaluations(workdir: str | Path) -> list[dict[str, Any]]:
    """Returns the evaluations kept in a run directory, oldest first; damaged files are left out."""
    found = []
    try:
        paths = list((as_path(workdir) / _FOLDER).glob("*.json"))
    except Exception:  # The libraries of buckets do not always raise an OSError.
        return []
    for path in paths:
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except Exception:
            continue
        if isinstance(record, dict) and isinstance(record.get("result"), dict):
            found.append(record)
    return sorted(found, key=lambda record: str(record.get("date")))


def corpus_facts(sources: Sequence[str], references: Sequence[str]) -> dict[str, Any]:
    """Returns the number of examples and a digest of each side."""
    return {
        "examples": len(sources),
        "sources": digest(sources),
        "references": digest(references),
    }


def rounded(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Returns facts with five significant digits of every number that is not whole."""
    return {
        name: float(f"{value:.5g}") if isinstance(value, float) else value
        for name, value in facts.items()
    }
