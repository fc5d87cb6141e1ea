"""Threads that wait for the database in place of the event loop."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

__all__ = ["WorkerThreads"]

R = TypeVar("R")
_Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[[], Any]]
_END: Final = None


class WorkerThreads:
    """Runs work in daemon threads: a process that ends does not wait for a database that hangs.

    Those of `concurrent.futures` are joined at the end of a process.

    Args:
        count: the number of threads. They are started with the first work.
        name: the name of the threads.
    """

    def __init__(self, count: int, name: str) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=name, daemon=True) for _ in range(count)]
        self._is_started = False

    async def run(self, work: Callable[[], R], timeout_seconds: float) -> R:
        """Runs `work` and returns its result; raises as it does.

        Raises:
            TimeoutError: it takes longer. It is not begun then, unless it has begun already.
        """
        if not self._is_started:
            self._is_started = True
            for thread in self._threads:
                thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._jobs.put((loop, future, work))
        return await asyncio.wait_for(future, timeout_seconds)

    def close(self) -> None:
        """Ends the threads that wait for work."""
        for _ in self._threads:
            self._jobs.put(_END)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not _END:
            loop, future, work = job
            if future.cancelled():  # nobody waits any more
                continue
            result, error = None, None
            try:
                result = work()
            except Exception as raised:  # noqa: BLE001 - it is raised where the result is awaited
                error = raised
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(_resolve, future, result, error)


def _resolve(future: "asyncio.Future[Any]", result: object, error: Exception | None) -> None:
    if future.cancelled():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
