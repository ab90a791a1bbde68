"""Settings of the host's memory allocator that suit large arrays."""

import importlib.metadata
import importlib.util
import os
import platform
import sys

# Environment in which the allocator of glibc uses huge pages and a single growing heap, and keeps
# freed memory.
ALLOCATOR = {
    "GLIBC_TUNABLES": ":".join(
        f"glibc.malloc.{name}={value}"
        for name, value in {
            "hugetlb": 1,
            "mmap_max": 0,
            "arena_max": 1,
            "trim_threshold": 2**40,
        }.items()
    )
}


def restart_with_own_allocator() -> None:
    """Restarts this program with `ALLOCATOR` if the host's C library is glibc.

    XLA allocates the memory of a computation by malloc each time it runs. By default large blocks
    are returned to the system after a training step, then faulted in and zeroed again in the next.
    glibc reads its settings only when a process starts, hence the restart. Nothing happens without
    glibc, if the user has set GLIBC_TUNABLES, or if JAX has an accelerator.
    """
    if platform.libc_ver()[0] != "glibc" or ALLOCATOR.keys() & os.environ.keys():
        return
    if os.environ.get("JAX_PLATFORMS") != "cpu" and _has_accelerator():
        return
    os.environ.update(ALLOCATOR)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _has_accelerator() -> bool:
    """Returns whether JAX has a plugin for an accelerator, without importing it."""
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    return bool(plugins) or importlib.util.find_spec("libtpu") is not None
