"""Files and folders on this machine or in buckets."""

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

# What a path in a bucket begins with; the extra that brings the package for it is called so, too.
_BUCKETS = ("gs", "s3")
# An object of a bucket is written as a whole, and not often.
_SECONDS = 10


def as_path(name: str | os.PathLike[str]) -> Path:
    """Returns a path of this machine, or of a bucket: `gs://BUCKET/...`, `s3://BUCKET/...`.

    The latter has the methods of `pathlib.Path` that matter (`etils.epath`, fsspec).

    Raises:
      UserError: another address, or the package for it is not installed.
    """
    name = os.fspath(name)
    if not in_bucket(name):
        return Path(name)
    scheme = name.partition("://")[0]
    if scheme not in _BUCKETS:
        raise UserError(f"{name}: expected a path of this machine, gs://... or s3://...")
    import fsspec
    from etils import epath

    try:
        # Other processes write there, too: what was listed once need not be true any more.
        for protocol in ("gcs", "gs", "s3"):
            fsspec.config.conf.setdefault(protocol, {})["use_listings_cache"] = False
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise UserError(
            f"{name}: needs an extra package: pip install 'seqjax[{scheme}]'"
        ) from error
    return epath.Path(name)


def expanded(name: str, given: str) -> str:
    """Returns a path with its `$VARIABLES` and `~` replaced; a variable that is not set stays.

    Args:
      name: the path.
      given: how it was given, for the message: `'data.directory = ...'`.

    Raises:
      UserError: it begins with the home folder of a user who has none.
    """
    path = os.path.expanduser(os.path.expandvars(name))
    if path.startswith("~"):
        home = path.partition("/")[0]
        whose = "this user has no home folder" if home == "~" else f"no user {home[1:]!r} is known"
        raise UserError(f"{given}: expected a path without {home!r}, since {whose}")
    return path


def path_option(option: str) -> Callable[[str], str]:
    """Returns what reads a path of the command line: a shell leaves `~` alone behind `=`."""
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
        raise UserError(f"data.cache = {name!r}: expected a folder, since this user has no home")
    say(f"data.cache = {name!r}: this user has no home folder; {folder} is used")
    return folder


def run_path(workdir: str | os.PathLike[str]) -> Path:
    """Returns the folder of a run: one of this machine or of a `gs://` bucket.

    Raises:
      UserError: another bucket.
    """
    check_run_path(workdir)
    return as_path(workdir)


def check_run_path(workdir: str | os.PathLike[str]) -> None:
    """Raises UserError for a bucket that Orbax cannot write checkpoints to."""
    if in_bucket(workdir) and not os.fspath(workdir).startswith("gs://"):
        raise UserError(
            f"--workdir={workdir}: expected a path of this machine or gs://..., where checkpoints"
            " can be written"
        )


def in_bucket(name: str | os.PathLike[str]) -> bool:
    """Returns whether a path is the address of something in a bucket."""
    return "://" in os.fspath(name)


def absolute(path: Path) -> Path:
    """Returns a path that does not depend on the current folder; an address never does."""
    return path if in_bucket(path) else path.absolute()


def size(path: Path) -> int:
    """Returns the size of a file in bytes, -1 if it does not exist."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return -1
    return found.length if in_bucket(path) else found.st_size


def replace_file(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Writes a file in one move: a reader, or a crash, meets the old content or the new, whole.

    Text is written as UTF-8 with the line ends that it has.
    """
    path = as_path(path)
    content = content.encode() if isinstance(content, str) else content
    if in_bucket(path):
        # An object is there once it has come whole.
        path.write_bytes(content)
        return
    # Whoever writes the same file does not meet in the partial one; in containers with one volume
    # processes have the same numbers.
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            # Otherwise the name may outlive a power failure and the content not.
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_side_file(path: Path, content: str | bytes) -> bool:
    """Writes a file that stands beside a result, making its folder; returns whether it could.

    A failure is a warning: a folder that cannot be written must not cost the result.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except Exception as error:
        # What a bucket's library raises is not always an OSError.
        if not in_bucket(path) and not isinstance(error, OSError):
            raise
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        log.warning("%s: not written (%s)", path, reason)
        return False
    return True


def rewrite_file(path: Path, before: bytes, after: bytes) -> None:
    """Gives a file that has one content another; if that is its beginning, cuts off the rest.

    A full disk has room for that, and none for a second copy.
    """
    if before == after:
        return
    if before.startswith(after) and not in_bucket(path):
        os.truncate(path, len(after))
    else:
        replace_file(path, after)


class GrowingFile:
    """A file that lines are added to, each of which its readers meet at once.

    What a full disk did not take is tried again by the next `write` and by `close`, so that no line
    is ever written in part.

    Nothing can be added to an object of a bucket: it is replaced in the background, every ten
    seconds at most, and when the file is closed. So much a kill may lose of it.
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
        """Adds a line, given with its end."""
        line = line.encode() if isinstance(line, str) else line
        if self._file is not None:
            self._unwritten += line
            self._write()
            return
        self._content += line
        if self._written.done() and time.monotonic() > self._last + _SECONDS:
            self._upload()

    def close(self) -> None:
        """Returns when all has been written."""
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
        # A disk that is nearly full takes a part, without an error.
        while self._unwritten and not self._file.closed:
            self._unwritten = self._unwritten[self._file.write(self._unwritten) :]

    def _upload(self) -> None:
        # Raises what failed in the background.
        if self._written.done():
            self._written.result()
        self._last = time.monotonic()
        self._written = self._writer.submit(replace_file, self._path, self._content)
