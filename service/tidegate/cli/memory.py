"""How a server's process keeps its memory."""

import ctypes
import gc
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

__all__ = ["keep_freed_memory", "tune_garbage_collector"]

_GC_THRESHOLDS: Final = (10_000, 20, 50)
"""Python's own (700, 10, 10) have it run in each turn of a busy event loop."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""As in glibc's `malloc.h`."""
_TUNED: Final = frozenset({"GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"})
_MOST_FREE_BYTES: Final = 64 * 1024 * 1024
_MAPPED_BYTES: Final = 4 * 1024 * 1024


def tune_garbage_collector() -> None:
    """Has the collector leave alone what has been made by now, and look at the rest less often.

    A server has nearly all that it will ever keep when it has started. To look through that takes milliseconds, in
    which no call goes on.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def keep_freed_memory(environ: Mapping[str, str]) -> None:
    """Has the process keep up to 64 MB that is free at the end of its heap, where its C library is glibc.

    Elsewhere, and where a variable tells glibc's allocator what to do, nothing.

    By itself, glibc gives back to the system what is free at the end of the heap as soon as it is twice as much as the
    largest block that was ever freed, or 128 KB: the memory of each body of some hundred kilobytes, only to have the
    kernel clear it anew for the next one (mallopt(3), "M_TRIM_THRESHOLD" and "M_MMAP_THRESHOLD").
    """
    if _TUNED.intersection(environ):
        return
    with suppress(OSError, AttributeError, TypeError):  # TypeError: Windows has no library of the process itself
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_TRIM_THRESHOLD, _MOST_FREE_BYTES)
        mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)
