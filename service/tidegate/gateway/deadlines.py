"""Deadlines that share one timer per second."""

import asyncio
from types import TracebackType
from typing import Any, Final, Self

__all__ = ["Deadline", "DeadlineTimers"]

_SOON_SECONDS: Final = 2.0


class DeadlineTimers:
    """The deadlines of one event loop that are at least 2 s away. Deadlines of the same second share a timer.

    When their second begins, the deadlines that are left get a timer each. Most calls end long before their deadline,
    and setting and canceling a timer for each would cost as much as everything else about a deadline.
    """

    def __init__(self) -> None:
        self._by_second: dict[int, set[Deadline]] = {}

    def of_second(self, loop: asyncio.AbstractEventLoop, second: int) -> "set[Deadline]":
        """The deadlines in this second of the loop's time. A deadline that is added is armed when the second begins."""
        due = self._by_second.get(second)
        if due is None:
            due = self._by_second[second] = set()
            loop.call_at(second, self._begin_second, second)
        return due

    def _begin_second(self, second: int) -> None:
        for deadline in self._by_second.pop(second):
            deadline.arm()


class Deadline:
    """Cancels its block after some seconds; the block then raises `TimeoutError`.

    It works like `asyncio.timeout`, at a fifth of the cost: every call has one.

    Args:
        seconds: how long the block may take.
        task: the running task, if known; None: it is looked up, which takes a system call.
        timers: the shared timers of the event loop; None: the deadline has a timer of its own.
    """

    __slots__ = (
        "_cancelling",
        "_due",
        "_expired",
        "_given_task",
        "_same_second",
        "_seconds",
        "_task",
        "_timer",
        "_timers",
    )

    def __init__(
        self, seconds: float, task: asyncio.Task[Any] | None = None, timers: DeadlineTimers | None = None
    ) -> None:
        self._seconds = seconds
        self._given_task = task
        self._timers = timers
        self._expired = False
        self._same_second: set[Deadline] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        task = self._given_task or asyncio.current_task()
        if task is None:
            raise RuntimeError("a Deadline must be entered inside a task")
        self._task: asyncio.Task[Any] = task
        self._cancelling = task.cancelling()
        loop = task.get_loop()
        self._due = loop.time() + self._seconds
        if self._timers is None or self._seconds < _SOON_SECONDS:
            self._timer = loop.call_at(self._due, self._expire)
        else:
            self._same_second = self._timers.of_second(loop, int(self._due))
            self._same_second.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._same_second is not None:
            self._same_second.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        # As in `asyncio.timeout`: a cancellation from elsewhere at the same time remains a cancellation.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def arm(self) -> None:
        """The second of its deadline has begun."""
        self._timer = self._task.get_loop().call_at(self._due, self._expire)

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
