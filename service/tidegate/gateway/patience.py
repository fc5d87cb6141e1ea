"""How long something may take."""

import asyncio
from types import TracebackType
from typing import Any, Self

__all__ = ["Patience"]


class Patience:
    """Cancels its block after so many seconds, and leaves it with `TimeoutError`.

    As `asyncio.timeout`, at a third of its cost: every call passes through one. `task` is the running one, where it is
    known: to find it out takes a system call.
    """

    __slots__ = ("_cancelling", "_expired", "_known", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float, task: asyncio.Task[Any] | None = None) -> None:
        self._seconds = seconds
        self._known = task
        self._expired = False

    def __enter__(self) -> Self:
        task = self._known or asyncio.current_task()
        if task is None:
            raise RuntimeError("patience is a task's")
        self._task: asyncio.Task[Any] = task
        self._cancelling = task.cancelling()
        self._timer = task.get_loop().call_later(self._seconds, self._expire)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        # As in `asyncio.timeout`: a cancellation from elsewhere at the same time stays one.
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def _expire(self) -> None:
        self._expired = True
        self._task.cancel()
