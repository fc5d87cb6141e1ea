"""Tunes garbage collection and memory allocation of a server process."""

import ctypes
import gc
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

__all__ = ["keep_freed_memory", "tune_garbage_collector"]

_GC_THRESHOLDS: Final = (10_000, 20, 50)
"""With Python's defaults, (700, 10, 10), the collector runs in every turn of a busy event loop."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""As in glibc's `malloc.h`."""
_TUNED: Final = frozenset({"GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"})
_MAX_FREE_BYTES: Final = 64 * 1024 * 1024
_MAPPED_BYTES: Final = 4 * 1024 * 1024


def tune_garbage_collector() -> None:
    """Excludes all existing objects from garbage collection, and runs it less often.

    After the start, a server has nearly all objects that it keeps. Scanning them takes milliseconds, which would delay
    all calls.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def keep_freed_memory(environ: Mapping[str, str]) -> None:
    """Lets glibc's allocator keep up to 64 MB of free memory at the end of the heap.

    Does nothing with other C libraries, or if a variable of `environ` tunes the allocator.

    By default, glibc returns free memory at the end of the heap once it exceeds twice the largest freed block, or
    128 KB. It would return the memory of each body of some 100 KB, and the kernel would clear it again for the next
    body (mallopt(3), "M_TRIM_THRESHOLD" and "M_MMAP_THRESHOLD").
    """
    if _TUNED.intersection(environ):
        return
    with suppress(OSError, AttributeError, TypeError):  # TypeError: on Windows CDLL(None) is not possible
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _MAX_FREE_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
