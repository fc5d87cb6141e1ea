"""Tracks whether the upstream can be reached: for the log, for `/readyz`, and for the calls that wait."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, Self

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal, UpstreamUnreachable
from tidegate.core.domain.nanoseconds import NS_PER_SECOND, to_ns, to_seconds
from tidegate.core.ports.clock import Clock

__all__ = ["LONGEST_WAIT_SECONDS", "OutOfReach", "Reachability"]

logger = logging.getLogger("tidegate.upstream")

LONGEST_WAIT_SECONDS: Final = 60.0
"""The wait of a call for an upstream that was reached before, if its client names no time limit."""

_REPORT_AFTER_NS: Final = 3 * NS_PER_SECOND
"""One failed connection is not reported. The log, `/readyz` and waiting calls report an outage within 5 s."""
_PROBE_EVERY_SECONDS: Final = 1.0
_PROBE_SECONDS: Final = 4.0
"""Time limit of a probe, so that a firewall that drops packets is also reported in time."""
_SUMMARIZE_EVERY_NS: Final = 60 * NS_PER_SECOND
_COME_BACK_SECONDS: Final = 5.0
"""Sent as `retry-after`. It is unknown when the configuration will be repaired; probes notice it within a second."""


class OutOfReach(Refusal):
    """No connection to the upstream can be opened, and the call should not wait."""


class Reachability:
    """Tracks whether connections to the upstream can be opened. Belongs to one event loop.

    States: *unknown* until the first connection; *reachable*; *failing* since the first failed connection;
    *unreachable* once connections have failed for 3 s. Any connection, and any response, leads back to *reachable*.

    A call waits for an unreachable upstream as for any outage, with two exceptions. If the upstream was never reached,
    its URL or the network is probably wrong: calls are refused at once. If the client names no time limit, its call is
    refused after 60 s.

    Args:
        url: the upstream's URL, for messages to the operator.
        clock: measures time.
    """

    def __init__(self, url: str, clock: Clock) -> None:
        self._url = url
        self._clock = clock
        self._was_reached = False
        self._failing_since_ns: int | None = None
        self._reason = ""
        self._failures = 0  # since the last log line
        self._logged_ns: int | None = None
        self._probe_soon = asyncio.Event()
        self._waits: set[_Wait] = set()

    @property
    def is_failing(self) -> bool:
        """Whether the latest connection failed."""
        return self._failing_since_ns is not None

    @property
    def is_hopeless(self) -> bool:
        """Whether calls are refused at once: the upstream has never been reached, for 3 s at least."""
        return not self._was_reached and self._is_unreachable

    @property
    def problem(self) -> str | None:
        """The reason that the service is not ready, for the operator; None if it is ready, as far as known."""
        if self.is_failing and (self._is_unreachable or not self._was_reached):
            return f"the upstream {self._url} cannot be reached: {self._reason}"
        return None

    def refusal(self) -> OutOfReach:
        """The refusal of a call that should not wait. It does not name the upstream's host, because clients see it."""
        message = f"the upstream cannot be reached: {self._reason}"
        return OutOfReach(Cause.UPSTREAM_OUTAGE, message, retry_after_seconds=_COME_BACK_SECONDS)

    def reached(self) -> None:
        """A connection was opened, or the upstream has responded."""
        self._was_reached = True
        if self._failing_since_ns is None:
            return
        if self._logged_ns is not None:
            for_seconds = to_seconds(self._clock.monotonic_ns() - self._failing_since_ns)
            logger.warning("the upstream %s can be reached again, after %.0f s", self._url, for_seconds)
        self._failing_since_ns = self._logged_ns = None
        self._failures = 0

    def failed(self, reason: str, took_ns: int = 0) -> None:
        """A connection could not be opened, for this reason; the attempt took `took_ns`."""
        if self._failing_since_ns is None:
            self._failing_since_ns = self._clock.monotonic_ns() - took_ns
        self._reason = reason
        self._failures += 1
        self._probe_soon.set()
        self._review()

    def probe_soon(self) -> None:
        """Makes the next probe start at once: something failed, maybe the connection."""
        self._probe_soon.set()

    def while_reachable(
        self,
        task: "asyncio.Task[Any] | None" = None,
        max_seconds: float | None = None,
        is_sent: Callable[[], bool] = bool,
        since_ns: int | None = None,
    ) -> "_Wait":
        """A block in which a call waits for the upstream. It raises `OutOfReach` when the call should not wait longer.

        Args:
            task: the task that runs the block; None: the current one.
            max_seconds: how long the call waits for an upstream that was reached before; None: without limit.
            is_sent: whether a request is under way: then the block goes on, because a response may come.
            since_ns: when the call began to wait; None: now.
        """
        started_ns = self._clock.monotonic_ns() if since_ns is None else since_ns
        return _Wait(self, task, started_ns, None if max_seconds is None else to_ns(max_seconds), is_sent)

    async def watch(self, connect: Callable[[], Awaitable[None]]) -> None:
        """Probes the connection: once at the start, and every second while connections fail. Runs until it is canceled.

        `connect` opens and closes a connection. It calls `reached` or `failed`, and may raise `UpstreamUnreachable`.
        """
        while True:
            self._probe_soon.clear()
            started_ns = self._clock.monotonic_ns()
            try:
                async with asyncio.timeout(_PROBE_SECONDS):
                    await connect()
            except TimeoutError:
                self.failed(f"no connection within {_PROBE_SECONDS:g} s", self._clock.monotonic_ns() - started_ns)
            except UpstreamUnreachable:
                pass  # `connect` has reported it
            if self.is_failing:
                await asyncio.sleep(_PROBE_EVERY_SECONDS)
                self._review()
            else:
                await self._probe_soon.wait()

    @property
    def _is_unreachable(self) -> bool:
        since_ns = self._failing_since_ns
        return since_ns is not None and self._clock.monotonic_ns() - since_ns >= _REPORT_AFTER_NS

    def _review(self) -> None:
        """Logs if it is time to, and ends the waits that have become too long."""
        if not self._is_unreachable:
            return
        now_ns = self._clock.monotonic_ns()
        if self._logged_ns is None:
            logger.warning("the upstream %s cannot be reached: %s", self._url, self._reason)
            self._logged_ns, self._failures = now_ns, 0
        elif now_ns - self._logged_ns >= _SUMMARIZE_EVERY_NS:
            since_ns = self._failing_since_ns or now_ns
            logger.warning(
                "the upstream %s cannot be reached, for %.0f s now: %s (%d failed connections since the last line)",
                self._url,
                to_seconds(now_ns - since_ns),
                self._reason,
                self._failures,
            )
            self._logged_ns, self._failures = now_ns, 0
        for wait in tuple(self._waits):
            if self.refuses(wait.started_ns, wait.max_ns):
                wait.end()

    def refuses(self, started_ns: int, max_ns: int | None) -> bool:
        """Whether a call that has waited since `started_ns`, and may wait `max_ns`, should be refused now."""
        if self.is_hopeless:
            return True
        since_ns = self._failing_since_ns
        if since_ns is None or max_ns is None:
            return False
        return self._clock.monotonic_ns() - max(started_ns, since_ns) >= max_ns

    def enter(self, wait: "_Wait") -> None:
        """Adds a wait; raises `OutOfReach` if it should not begin."""
        if self.refuses(wait.started_ns, wait.max_ns):
            raise self.refusal()
        self._waits.add(wait)

    def leave(self, wait: "_Wait") -> None:
        """Removes a wait."""
        self._waits.discard(wait)


class _Wait:
    """A block that `Reachability` may end. It works like `asyncio.timeout`, without a timer."""

    __slots__ = ("_cancelling", "_ended", "_is_sent", "_reachability", "_task", "max_ns", "started_ns")

    def __init__(
        self,
        reachability: Reachability,
        task: "asyncio.Task[Any] | None",
        started_ns: int,
        max_ns: int | None,
        is_sent: Callable[[], bool],
    ) -> None:
        self._reachability = reachability
        self._task = task
        self._is_sent = is_sent
        self._ended = False
        self.started_ns = started_ns
        self.max_ns = max_ns

    def __enter__(self) -> Self:
        self._task = self._task or asyncio.current_task()
        self._cancelling = 0 if self._task is None else self._task.cancelling()
        self._reachability.enter(self)
        return self

    def end(self) -> None:
        """Ends the block, unless a request is under way."""
        if not self._ended and self._task is not None and not self._is_sent():
            self._ended = True
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._reachability.leave(self)
        if not self._ended or self._task is None:
            return
        # As in `asyncio.timeout`: a cancellation from elsewhere at the same time remains a cancellation.
        if self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise self._reachability.refusal() from error
