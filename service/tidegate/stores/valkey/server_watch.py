"""Watches whether the server of the shared log answers."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.ports.clock import Clock
from tidegate.stores.valkey.shared_log import SharedLog

__all__ = ["ServerWatch"]

_PING_SECONDS: Final = 0.2
_LOST_SECONDS: Final = 0.25
_AGAIN_SECONDS: Final = 0.1
"""A ping without an answer is sent again after this time."""
_LATE_SECONDS: Final = 0.05


class ServerWatch:
    """Pings the server. Without an answer for 250 ms, it is lost.

    Args:
        log: on the server.
        clock: the time of this process.
        on_latency: called with the time in seconds that each ping took.

    Attributes:
        is_up: whether it answered the last ping in time.
        latency_seconds: how long the last answer took.
    """

    def __init__(self, log: SharedLog, clock: Clock, on_latency: Callable[[float], None]) -> None:
        self._log = log
        self._clock = clock
        self._on_latency = on_latency
        self._answered_ns = clock.monotonic_ns()
        self.is_up = False
        self.latency_seconds = 0.0

    @property
    def silent_seconds(self) -> float:
        """The time since the last answer."""
        return to_seconds(self._clock.monotonic_ns() - self._answered_ns)

    async def ping(self) -> bool:
        """Pings once. Returns whether the server answered in time."""
        asked_ns = self._clock.monotonic_ns()
        asking = [asyncio.ensure_future(self._log.ping())]
        try:
            if not await _any_done(asking, _AGAIN_SECONDS):
                asking.append(asyncio.ensure_future(self._log.ping()))  # one lost command is no lost server
            if not await _any_done(asking, _LOST_SECONDS - _AGAIN_SECONDS):
                waited_seconds = to_seconds(self._clock.monotonic_ns() - asked_ns)
                if waited_seconds > _LOST_SECONDS + _LATE_SECONDS:
                    # This process was late itself: the answer may be there.
                    await _any_done(asking, _LOST_SECONDS)
            self.is_up = any(each.done() and each.exception() is None for each in asking)
        finally:
            for each in asking:
                each.cancel()
        if self.is_up:
            self._answered_ns = self._clock.monotonic_ns()
            self.latency_seconds = to_seconds(self._answered_ns - asked_ns)
            self._on_latency(self.latency_seconds)
        return self.is_up

    async def until(self, *, is_up: bool) -> None:
        """Pings until the server answers, or until it does not."""
        while self.is_up is not is_up:
            await asyncio.sleep(_PING_SECONDS)
            await self.ping()

    async def first_ping(self) -> None:
        """Pings once, before the first calls.

        Raises:
            StoreLost: the server does not answer.
        """
        await self._log.ping()
        self.is_up, self._answered_ns = True, self._clock.monotonic_ns()


async def _any_done(tasks: Sequence["asyncio.Future[Any]"], timeout_seconds: float) -> bool:
    done, _ = await asyncio.wait(tasks, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    return bool(done)
