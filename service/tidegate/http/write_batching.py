"""Batches the writes of one turn of the event loop."""

import asyncio
from collections.abc import Callable
from typing import Final

__all__ = ["LARGE_BYTES", "WriteBatcher"]

LARGE_BYTES: Final = 512 * 1024
"""Larger writes are not delayed: by then their bytes would have left the processor's caches."""
_MAX_WRITES: Final = 16
_FEW_WRITES: Final = 2
"""A turn with so few writes is not busy: two calls that arrive together should not wait for each other."""


class WriteBatcher:
    """Delays writes to the end of the event loop's turn, while turns have many of them. Belongs to one event loop.

    A write that wakes up its reader takes the kernel twice as long as a write whose reader is running. Of sixteen
    writes in a row one or two wake up their reader; of sixteen single ones, all do. Netty calls this flush
    consolidation. Large writes are not delayed, and under little load none is.
    """

    __slots__ = ("_batches", "_later", "_written")

    def __init__(self) -> None:
        self._later: list[Callable[[], None]] = []
        self._written = 0  # in this turn
        self._batches = False

    def put(self, write: Callable[[], None], size_bytes: int) -> None:
        """Calls `write` now, or before the turn ends: its errors then go to the event loop's exception handler."""
        if not self._written:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._written += 1
        if size_bytes > LARGE_BYTES or not self._batches:
            write()
            return
        self._later.append(write)
        if len(self._later) == _MAX_WRITES:
            self._write_out()

    def _end_turn(self) -> None:
        self._batches = self._written > _FEW_WRITES  # the next turn is probably like this one
        self._written = 0
        self._write_out()

    def _write_out(self) -> None:
        later, self._later = self._later, []
        for write in later:
            try:
                write()
            except Exception as error:  # noqa: BLE001 - the other writes must not fail with this one
                context = {"message": "a write failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(context)
