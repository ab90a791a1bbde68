"""`environment.json` of a run: versions, devices, code and command, for whoever repeats it."""

import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import shlex
import site
import subprocess
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

import seqjax
from seqjax.files import as_path, replace_file
from seqjax.parallel.processes import is_first

_PACKAGES = (
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

    The file is an object with one list, `sessions`. Each start of the run appends an entry, so that
    every machine that took part is named. A package that is not installed has version null; the
    commit is null if there is no git.

    `dirty` says whether tracked files of seqjax's checkout have changed. `files` are the Python
    files of the user that took part, a config or a study and what it imported, each with `path`,
    the SHA-256 digest `sha256`, and `tracked`: whether git knows the file where it lies (null if
    there is no repository). A run that is continued from its folder alone has none.

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
        "files": own_files(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {"seqjax": seqjax.__version__} | {name: _version(name) for name in _PACKAGES},
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

    Both are None if git does not know the folder's `__init__.py`, or is not there at all.
    """
    # An installed copy may lie in some other project's checkout, whose commit says nothing.
    if _git(code, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit = _git(code, "rev-parse", "HEAD")
    changes = _git(code, "status", "--porcelain", "--untracked-files=no")
    return commit, None if changes is None else bool(changes)


def own_files() -> list[dict[str, Any]]:
    """Returns the Python files that this process imported and that no package installed."""
    package = Path(seqjax.__file__).parent
    others = {Path(folder).resolve() for folder in _installed()} | {package.resolve()}
    real_folder = functools.cache(lambda folder: Path(folder).resolve())
    is_own = functools.cache(lambda folder: others.isdisjoint([folder, *folder.parents]))
    paths = set()
    # What is imported meanwhile, by a thread, took no part.
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name != "__main__" and isinstance(file, str) and file.endswith(".py"):
            # Thousands of modules lie in a few hundred folders.
            path = real_folder(os.path.dirname(file)) / os.path.basename(file)
            if path.is_symlink():
                path = path.resolve()
            if is_own(path.parent) and path.is_file():
                paths.add(path)
    known = {folder: _tracked(folder) for folder in {path.parent for path in paths}}
    return [
        {
            "path": str(path),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "tracked": None if known[path.parent] is None else path.name in known[path.parent],
        }
        for path in sorted(paths)
    ]


def _installed() -> Iterable[str]:
    """Returns the folders of Python itself and of installed packages."""
    return [*site.getsitepackages(), site.getusersitepackages(), *sysconfig.get_paths().values()]


def _tracked(folder: Path) -> set[str] | None:
    """Returns the names of files in a folder that git knows, None if it is in no repository."""
    found = _git(folder, "ls-files", "-z", "--", ":(glob)*.py")
    return None if found is None else set(found.split("\0"))


def _git(directory: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(directory), *arguments]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
