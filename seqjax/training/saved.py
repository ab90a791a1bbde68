"""What a run directory tells of its training before anything of it is read."""

from pathlib import Path


def has_checkpoint(workdir: Path) -> bool:
    """Returns whether a run has saved a step: what a start left that came to none binds nobody."""
    return bool(_steps(workdir))


def newest_checkpoint(workdir: Path) -> int:
    """Returns the last step that a run has saved, 0 where there is none."""
    return max(_steps(workdir), default=0)


def _steps(workdir: Path) -> list[int]:
    entries = (workdir / "checkpoints").glob("*")
    return [int(entry.name) for entry in entries if entry.name.isdigit()]
