"""An allocator that suits the arrays which live in the host's memory."""

import importlib.metadata
import importlib.util
import os
import platform
import sys

# What the environment must hold when a process starts, for the allocator of glibc:
# memory comes in huge pages and from one growing heap, which is kept when it is freed.
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
    """Starts this program anew with `ALLOCATOR`, where the host's C library is glibc.

    XLA takes the memory of a computation from malloc each time it runs. By default large pieces
    are given back to the system after a training step and faulted in again, zeroed, in the next.
    glibc reads the settings only when a process starts,
    hence the restart. Elsewhere, where the user has set GLIBC_TUNABLES, and where JAX has an
    accelerator, nothing happens.
    """
    if platform.libc_ver()[0] != "glibc" or ALLOCATOR.keys() & os.environ.keys():
        return
    if os.environ.get("JAX_PLATFORMS") != "cpu" and _has_accelerator():
        return
    os.environ.update(ALLOCATOR)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _has_accelerator() -> bool:
    """Returns whether JAX was installed with a plugin for one; it is not imported for that."""
    plugins = importlib.metadata.entry_points(group="jax_plugins")
    return bool(plugins) or importlib.util.find_spec("libtpu") is not None
