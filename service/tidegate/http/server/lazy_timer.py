"""A timer that is cheap to move: for deadlines that are set with every message and seldom reached."""

import asyncio
from collections.abc import Callable

__all__ = ["LazyTimer"]


class LazyTimer:
    """Calls one callback at one time. Setting it again usually does not touch the event loop's timer.

    If the time is moved back, the event loop's timer still fires at the earlier time, and is then set for the rest.

    Attributes:
        callback: what is called next; None if nothing is.
    """

    __slots__ = ("_due_at", "_fires_at", "_handle", "_loop", "callback")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.callback: Callable[[], None] | None = None
        self._loop = loop
        self._handle: asyncio.TimerHandle | None = None
        self._due_at = 0.0
        self._fires_at = 0.0

    def set(self, callback: Callable[[], None], seconds: float) -> None:
        """Calls `callback` in that time, in place of the one before."""
        self.callback = callback
        self._due_at = self._loop.time() + seconds
        if self._handle is None or self._fires_at > self._due_at:
            self._arm()

    def close(self) -> None:
        """Calls nothing any more, and leaves nothing in the event loop."""
        self.callback = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._fires_at = self._due_at
        self._handle = self._loop.call_at(self._due_at, self._fire)

    def _fire(self) -> None:
        self._handle = None
        if self.callback is None:
            return
        if self._loop.time() < self._due_at:
            self._arm()
        else:
            callback, self.callback = self.callback, None
            callback()
