"""The platform of JAX, checked before any work."""

import importlib.util
import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from seqjax.errors import Unavailable, UserError

# Parts of runtime messages about a device that another process holds.
_HELD = ("already in use", "RESOURCE_EXHAUSTED", "out of memory")


def require_platform() -> None:
    """Initializes the devices of JAX.

    Raises:
      UserError: the environment names a platform, a flag or a value that this JAX does not have.
      Unavailable: another process holds the device.
    """
    check_flags(os.environ.get("XLA_FLAGS", ""))
    platforms = os.environ.get("JAX_PLATFORMS", "")
    try:
        import jax

        jax.devices()
    except (AssertionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        if any(words in reason for words in _HELD):
            raise Unavailable(f"JAX cannot use its device: {reason}") from error
        if not platforms:
            raise UserError(f"JAX cannot start: {reason}") from error
        raise UserError(
            f"JAX_PLATFORMS={platforms}: expected an available platform, such as cpu"
            f"{f': {reason}' if reason else ', since JAX finds none of these'}"
        ) from error


def check_flags(flags: str) -> None:
    """Checks `XLA_FLAGS`, since XLA aborts the process at an unknown flag.

    Raises:
      UserError: no library of JAX has the name of a flag, or the file of flags does not exist.
    """
    names = [flag.partition("=")[0] for flag in flags.split()]
    if names and not names[0].startswith("--"):
        if not os.path.isfile(flags.strip()):
            raise UserError(f"XLA_FLAGS={flags}: expected flags, --NAME=VALUE, or a file of flags")
        return
    unknown = [name for name in names if name.startswith("--")]
    for library in _libraries():
        if not unknown:
            return
        with library.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as held:
            unknown = [name for name in unknown if held.find(name[2:].encode() + b"\0") < 0]
    if unknown:
        raise UserError(f"XLA_FLAGS: expected flags that XLA has; it has no {unknown[0]}")


def _libraries() -> Iterator[Path]:
    """Yields the libraries that may define flags, the most likely first."""
    for package in ("jaxlib", "jax_plugins"):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            found = [path for path in Path(folder).rglob("*.so*") if path.stat().st_size]
            yield from sorted(found, key=lambda path: -path.stat().st_size)
