"""Large pages for the arrays that live in the host's memory."""

import os
import platform
import sys

_VARIABLE = "GLIBC_TUNABLES"
_TUNABLE = "glibc.malloc.hugetlb=1"


def restart_with_huge_pages() -> None:
    """Starts this program anew with an allocator that asks for huge pages, where there is one.

    XLA takes the memory of a computation from malloc each time it runs; with pages of 4 KiB a CPU
    spends a good part of a training step on faulting them in. The allocator of glibc reads the
    setting only when a process starts, hence the restart. Elsewhere, and where the user has set
    GLIBC_TUNABLES, nothing happens.
    """
    if platform.libc_ver()[0] != "glibc" or _VARIABLE in os.environ:
        return
    os.environ[_VARIABLE] = _TUNABLE
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
