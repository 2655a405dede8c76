"""Make the allocator of this process keep freed memory, which saves about a third of the CPU time of training.

Every step allocates and frees activations of many megabytes. By default, glibc returns such blocks to the operating
system at once, and the next step pays for a page fault for each 4 kB of them. The computed bytes are the same.
"""

import ctypes
import os
from collections.abc import Callable, Mapping

# Parameters of mallopt, from malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# glibc maps larger blocks separately and returns them when they are freed. Some versions accept at most 32 MiB.
_LARGEST_BLOCKS = (2**30, 32 * 2**20)
_KEPT = 2**30
# With one of these variables, the user has configured glibc's allocator.
_ALLOCATOR_VARIABLES = (
    "MALLOC_ARENA_MAX",
    "MALLOC_MMAP_MAX_",
    "MALLOC_MMAP_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "MALLOC_TRIM_THRESHOLD_",
)

Mallopt = Callable[[int, int], int]


def keep_freed_memory(*, one_arena: bool = False, environment: Mapping[str, str] = os.environ) -> bool:
    """Make glibc keep up to 1 GiB of freed memory, for the whole process; return whether it does so now.

    Other C libraries and other allocators remain as they are. So does glibc, if the environment configures its
    allocator with MALLOC_MMAP_THRESHOLD_ and similar variables, or with GLIBC_TUNABLES=glibc.malloc.….

    Parameters
    ----------
    one_arena : whether threads that start from now on share the memory of the main thread. glibc returns the memory of
        separate arenas early, whatever the thresholds. For a process that only trains, and not for an application that
        calls the library
    """
    if any(name in environment for name in _ALLOCATOR_VARIABLES):
        return False
    if "glibc.malloc." in environment.get("GLIBC_TUNABLES", ""):
        return False
    mallopt = _glibc_mallopt()
    return mallopt is not None and set_allocator(mallopt, one_arena=one_arena)


def set_allocator(mallopt: Mallopt, *, one_arena: bool) -> bool:
    """Set the largest thresholds that `mallopt` accepts; it returns 0 for a value that it does not accept."""
    if not any(mallopt(_MMAP_THRESHOLD, size) for size in _LARGEST_BLOCKS):
        return False
    if one_arena:
        mallopt(_ARENA_MAX, 1)
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT))


def _glibc_mallopt() -> Mallopt | None:
    """Return `mallopt` of glibc, or None if this process uses another C library."""
    try:
        library = ctypes.CDLL(None)
        is_glibc = hasattr(library, "gnu_get_libc_version")
    except (OSError, TypeError):  # TypeError: Windows has no library None
        return None
    return library.mallopt if is_glibc else None
