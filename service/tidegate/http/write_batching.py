"""Brings together what is written in one turn of the event loop."""

import asyncio
from collections.abc import Callable
from typing import Final

__all__ = ["LARGE_BYTES", "WriteBatcher"]

LARGE_BYTES: Final = 512 * 1024
"""What is larger is written at once."""
_MAX_WRITES: Final = 16
_FEW_WRITES: Final = 2
"""In a turn: two calls that happen to come at once should not wait for each other."""


class WriteBatcher:
    """Has what is written in one turn of the event loop written together. Belongs to one event loop.

    A write that wakes its reader up takes the kernel twice as long as one whose reader is at work already: of sixteen
    in a row one or two do so, of sixteen that come one by one all. Netty calls it flush consolidation. What is very
    large does not wait, because it would have left the processor's caches by then; and under little load, when turns
    have one or two, nothing does.
    """

    __slots__ = ("_gathers", "_later", "_written")

    def __init__(self) -> None:
        self._later: list[Callable[[], None]] = []
        self._written = 0  # in this turn
        self._gathers = False

    def put(self, write: Callable[[], None], size_bytes: int) -> None:
        """Calls `write` now or before the turn ends; what it raises then is the event loop's to report."""
        if not self._written:
            asyncio.get_running_loop().call_soon(self._end_turn)
        self._written += 1
        if size_bytes > LARGE_BYTES or not self._gathers:
            write()
            return
        self._later.append(write)
        if len(self._later) == _MAX_WRITES:
            self._write_out()

    def _end_turn(self) -> None:
        self._gathers = self._written > _FEW_WRITES  # the next turn is likely to be like this one
        self._written = 0
        self._write_out()

    def _write_out(self) -> None:
        later, self._later = self._later, []
        for write in later:
            try:
                write()
            except Exception as error:  # noqa: BLE001 - what others have to say must go out all the same
                told = {"message": "a write failed", "exception": error}
                asyncio.get_running_loop().call_exception_handler(told)
