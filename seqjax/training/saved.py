"""What a run directory tells of its training before anything of it is read."""

from pathlib import Path


def has_checkpoint(workdir: Path) -> bool:
    """Returns whether a run has saved a step: what a start left that came to none binds nobody."""
    return any(entry.name.isdigit() for entry in (workdir / "checkpoints").glob("*"))
