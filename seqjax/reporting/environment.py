"""What a run ran on: versions, devices, code and command, for whoever repeats it."""

import importlib.metadata
import json
import os
import platform
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

import seqjax
from seqjax.files import as_path, replace_file
from seqjax.parallel.processes import is_first

_PACKAGES = (
    "seqjax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "sentencepiece",
    "sacrebleu",
)


def record_environment(
    workdir: str | os.PathLike[str], facts: Mapping[str, str] | None = None
) -> None:
    """Adds this session, and facts of its own, to `environment.json` of the run directory.

    The file is an object with one list, `sessions`: each start of the run appends an entry, so a
    resumed run tells of every machine that took part. A package that is not installed (seqjax
    itself, run from a checkout) has version null; so has the commit where there is no git.

    With several processes only the first one writes.
    """
    if not is_first():
        return
    path = as_path(workdir) / "environment.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {"sessions": [*_earlier_sessions(path), _session() | dict(facts or {})]}
    replace_file(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def last_recorded(workdir: str | os.PathLike[str], fact: str) -> Any:
    """Returns a fact of the last session that has it, '' if none has."""
    sessions = _earlier_sessions(as_path(workdir) / "environment.json")
    return next((session[fact] for session in reversed(sessions) if fact in session), "")


def _earlier_sessions(path: Path) -> list[Any]:
    try:
        return list(json.loads(path.read_text(encoding="utf-8"))["sessions"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        # A record damaged by hand must not keep a run from starting.
        return []


def _session() -> dict[str, Any]:
    commit, dirty = code_version(Path(seqjax.__file__).parent)
    kinds = Counter((device.platform, device.device_kind) for device in jax.devices())
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(sys.orig_argv),
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "devices": [
            {"platform": name, "kind": kind, "count": count}
            for (name, kind), count in kinds.items()
        ],
        "processes": jax.process_count(),
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def code_version(code: Path) -> tuple[str | None, bool | None]:
    """Returns the commit a package's folder is at and whether tracked files have changed since.

    Both are None where git does not know the folder's `__init__.py`, or is not there at all.
    """
    # An installed copy may lie in some other project's checkout, whose commit says nothing.
    if _git(code, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit = _git(code, "rev-parse", "HEAD")
    changes = _git(code, "status", "--porcelain", "--untracked-files=no")
    return commit, None if changes is None else bool(changes)


def _git(directory: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(directory), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
