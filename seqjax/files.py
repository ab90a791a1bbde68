"""Local files and folders, and those in buckets."""

import concurrent.futures
import functools
import logging
import os
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from seqjax.errors import UserError
from seqjax.stages import say

log = logging.getLogger(__name__)

# Schemes of buckets, and names of the extras that install their packages.
_BUCKETS = ("gs", "s3")
# Seconds between uploads of a growing file: each replaces the whole object.
_SECONDS = 10


def as_path(name: str | os.PathLike[str]) -> Path:
    """Returns a local path, or one in a bucket: `gs://BUCKET/...` or `s3://BUCKET/...`.

    Paths in buckets have the main methods of `pathlib.Path` (`etils.epath`, by fsspec).

    Raises:
      UserError: the address has another scheme, or its package is not installed.
    """
    name = os.fspath(name)
    if not in_bucket(name):
        return Path(name)
    scheme = name.partition("://")[0]
    if scheme not in _BUCKETS:
        raise UserError(f"{name}: expected a local path, gs://... or s3://...")
    import fsspec
    from etils import epath

    try:
        # Other processes write there as well, so listings must not be cached.
        for protocol in ("gcs", "gs", "s3"):
            fsspec.config.conf.setdefault(protocol, {})["use_listings_cache"] = False
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise UserError(
            f"{name}: needs an extra package: pip install 'seqjax[{scheme}]'"
        ) from error
    return epath.Path(name)


def expanded(name: str, given: str) -> str:
    """Returns a path with `$VARIABLES` and `~` expanded; unset variables are kept.

    Args:
      name: the path.
      given: how it was given, for the message: `'data.directory = ...'`.

    Raises:
      UserError: it begins with `~` and there is no such home folder.
    """
    path = os.path.expanduser(os.path.expandvars(name))
    if path.startswith("~"):
        home = path.partition("/")[0]
        whose = "this user has no home folder" if home == "~" else f"no user {home[1:]!r} is known"
        raise UserError(f"{given}: expected a path without {home!r}, since {whose}")
    return path


def path_option(option: str) -> Callable[[str], str]:
    """Returns a parser for a path option; shells do not expand `~` after `--option=`."""
    return lambda name: expanded(name, f"{option}={name}")


@functools.cache
def cache_folder(name: str) -> Path:
    """Returns the folder of a cache: in the home folder, or a temporary one if there is no home.

    Raises:
      UserError: the temporary folder belongs to somebody else.
    """
    try:
        return Path(expanded(name, f"data.cache = {name!r}"))
    except UserError:
        if not name.startswith("~/"):
            raise
    folder = Path(tempfile.gettempdir(), f"seqjax-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise UserError(
            f"data.cache = {name!r}: expected another folder, since this user has no home folder"
            f" and {folder} belongs to somebody else"
        )
    say(f"data.cache = {name!r}: this user has no home folder; {folder} is used")
    return folder


def run_path(workdir: str | os.PathLike[str]) -> Path:
    """Returns the folder of a run, local or in a `gs://` bucket.

    Raises:
      UserError: it is in another bucket.
    """
    check_run_path(workdir)
    return as_path(workdir)


def check_run_path(workdir: str | os.PathLike[str]) -> None:
    """Raises UserError for a bucket that Orbax cannot write checkpoints to."""
    if in_bucket(workdir) and not os.fspath(workdir).startswith("gs://"):
        raise UserError(
            f"--workdir={workdir}: expected a local path or gs://..., where checkpoints can be"
            " written"
        )


def in_bucket(name: str | os.PathLike[str]) -> bool:
    """Returns whether a path is an address in a bucket."""
    return "://" in os.fspath(name)


def absolute(path: Path) -> Path:
    """Returns an absolute path; an address in a bucket already is one."""
    return path if in_bucket(path) else path.absolute()


def size(path: Path) -> int:
    """Returns the size of a file in bytes, -1 if it does not exist."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return -1
    return found.length if in_bucket(path) else found.st_size


def replace_file(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes a file atomically: after a crash it has either the old or the new content in full.

    Strings are written as UTF-8, line ends unchanged.
    """
    path = as_path(path)
    content = content.encode() if isinstance(content, str) else content
    if in_bucket(path):
        # An object appears once its upload is complete.
        path.write_bytes(content)
        return
    # Several processes may write the same file, so each needs its own partial one. The name is
    # random, since processes in containers that share a volume may have equal ids.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            # Without this, a power failure could keep the name but lose the content.
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_side_file(path: Path, content: str | bytes) -> bool:
    """Writes a file that accompanies a result, and creates its folder; returns whether it could.

    A failure only causes a warning, so that the result itself is not lost.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except Exception as error:
        # The libraries of buckets do not always raise an OSError.
        if not in_bucket(path) and not isinstance(error, OSError):
            raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        log.warning("%s: not written (%s)", path, reason)
        return False
    return True


def rewrite_file(path: Path, before: bytes, after: bytes) -> None:
    """Replaces the content of a file; if the new content begins the old one, truncates the file.

    Truncating works on a full disk, which has no room for a second copy.
    """
    if before == after:
        return
    if before.startswith(after) and not in_bucket(path):
        os.truncate(path, len(after))
    else:
        replace_file(path, after)


class GrowingFile:
    """A file that lines are appended to; readers see each line at once.

    If a disk is full, the rest of a line is written by the next `write` or by `close`, so that no
    line stays incomplete.

    Objects in buckets cannot be appended to. They are replaced in the background, at most every ten
    seconds and when the file is closed, so a kill may lose the lines of the last ten seconds.
    """

    def __init__(self, path: Path):
        self._path = path
        self._file = None if in_bucket(path) else path.open("ab", buffering=0)
        self._unwritten = b""
        if self._file is None:
            self._content = path.read_bytes() if path.exists() else b""
            self._writer = concurrent.futures.ThreadPoolExecutor(1)
            self._written = concurrent.futures.Future()
            self._written.set_result(None)
            self._last = 0.0

    def write(self, line: str | bytes) -> None:
        """Appends a line, given with its line end."""
        line = line.encode() if isinstance(line, str) else line
        if self._file is not None:
            self._unwritten += line
            self._write()
            return
        self._content += line
        if self._written.done() and time.monotonic() > self._last + _SECONDS:
            self._upload()

    def close(self) -> None:
        """Closes the file after everything has been written."""
        if self._file is not None:
            try:
                self._write()
            finally:
                self._file.close()
            return
        with self._writer:
            self._upload()
        self._written.result()

    def _write(self) -> None:
        # A nearly full disk accepts a part without an error.
        while self._unwritten and not self._file.closed:
            self._unwritten = self._unwritten[self._file.write(self._unwritten) :]

    def _upload(self) -> None:
        # Raises an exception of the upload in the background.
        if self._written.done():
            self._written.result()
        self._last = time.monotonic()
        self._written = self._writer.submit(replace_file, self._path, self._content)
