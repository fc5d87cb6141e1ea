"""How long something may take."""

import asyncio
from types import TracebackType
from typing import Any, Final, Self

__all__ = ["Deadline", "DeadlineTimers"]

_SOON_SECONDS: Final = 2.0


class DeadlineTimers:
    """Those of one event loop that are far off: all of a second share a timer until it begins.

    Most calls end long before their deadline: to set a timer for each and take it back costs as much as the rest.
    """

    def __init__(self) -> None:
        self._by_second: dict[int, set[Deadline]] = {}

    def of_second(self, loop: asyncio.AbstractEventLoop, second: int) -> "set[Deadline]":
        """Those that are due in this second of the loop's time; who joins them is armed when it begins."""
        due = self._by_second.get(second)
        if due is None:
            due = self._by_second[second] = set()
            loop.call_at(second, self._begins, second)
        return due

    def _begins(self, second: int) -> None:
        for deadline in self._by_second.pop(second):
            deadline.arm()


class Deadline:
    """Cancels its block after so many seconds, and leaves it with `TimeoutError`.

    As `asyncio.timeout`, at a fifth of its cost: every call passes through one. `task` is the running one, where it is
    known: to find it out takes a system call. `deadlines` are those of its event loop.
    """

    __slots__ = ("_cancelling", "_deadlines", "_due", "_expired", "_known", "_others", "_seconds", "_task", "_timer")

    def __init__(
        self, seconds: float, task: asyncio.Task[Any] | None = None, deadlines: DeadlineTimers | None = None
    ) -> None:
        self._seconds = seconds
        self._known = task
        self._deadlines = deadlines
        self._expired = False
        self._others: set[Deadline] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        task = self._known or asyncio.current_task()
        if task is None:
            raise RuntimeError("a Deadline must be entered inside a task")
        self._task: asyncio.Task[Any] = task
        self._cancelling = task.cancelling()
        loop = task.get_loop()
        self._due = loop.time() + self._seconds
        if self._deadlines is None or self._seconds < _SOON_SECONDS:
            self._timer = loop.call_at(self._due, self._expire)
        else:
            self._others = self._deadlines.of_second(loop, int(self._due))
            self._others.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._others is not None:
            self._others.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        # As in `asyncio.timeout`: a cancellation from elsewhere at the same time stays one.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def arm(self) -> None:
        """The second of its deadline has begun."""
        self._timer = self._task.get_loop().call_at(self._due, self._expire)

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
