"""What the names of files in a run directory say of its training, before any is read."""

import json
from pathlib import Path
from typing import Any


def has_checkpoint(workdir: Path) -> bool:
    """Returns whether a run has saved a step: what a start left that came to none binds nobody."""
    return bool(_steps(workdir))


def newest_checkpoint(workdir: Path) -> int:
    """Returns the last step that a run has saved, 0 where there is none."""
    return max(_steps(workdir), default=0)


def saved_clock(workdir: Path) -> dict[str, Any]:
    """Returns the clock of the newest checkpoint that has a legible one, {} if none has."""
    for step in sorted(_steps(workdir), reverse=True):
        try:
            clock = json.loads(_clock_file(workdir, step).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        if isinstance(clock, dict):
            return clock
    return {}


def _clock_file(workdir: Path, step: int) -> Path:
    return workdir / "checkpoints" / str(step) / "clock" / "metadata"


def _steps(workdir: Path) -> list[int]:
    entries = (workdir / "checkpoints").glob("*")
    return [int(entry.name) for entry in entries if entry.name.isdigit()]
