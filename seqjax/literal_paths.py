"""Folders whose names hold `*`, `?` or `[`, which etils takes for patterns."""

import functools
import glob
import os
from collections.abc import Iterator
from pathlib import Path


@functools.cache
def take_paths_literally() -> None:
    """Lets `etils.epath` list a folder whatever characters its path holds.

    etils 1.15 joins a folder and a pattern before it looks for matches, so that `runs/x[1]` means
    `runs/x1`. Orbax lists checkpoints, and the files that it merges into one, by that method: it
    would write checkpoints into such a folder that nobody can read.
    """
    from etils import epath

    kind = type(epath.Path("/"))
    unescaped = kind.glob

    def literal(self: Path, pattern: str) -> Iterator[Path]:
        return unescaped(type(self)(glob.escape(os.fspath(self))), pattern)

    kind.glob = literal
