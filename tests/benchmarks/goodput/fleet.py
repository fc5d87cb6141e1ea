"""The processes of a run: they start and leave while calls are spread over them."""

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import cache

from benchmarks.goodput.records import Job
from benchmarks.goodput.sdk_clients import Client

__all__ = ["Fleet", "spread"]


class Fleet:
    """Starts and stops clients, one per process. Make it in the event loop.

    Args:
        start: Starts the process of a number, which counts from 0 over the whole run.
        count: How many to start now.

    Attributes:
        running: Those that take calls, the oldest first.
    """

    def __init__(self, start: Callable[[int], Client], count: int) -> None:
        self._start = start
        self._started = 0
        self.running: list[Client] = []
        self._calls: Counter[Client] = Counter()
        self._leaving: set[asyncio.Task[None]] = set()
        self._call_ended = asyncio.Event()
        self.resize(count)

    def resize(self, count: int) -> None:
        """Starts processes, or lets the oldest leave: they take no more calls, and stop after their last one."""
        while len(self.running) < count:
            self.running.append(self._start(self._started))
            self._started += 1
        while len(self.running) > count:
            self._leaving.add(asyncio.create_task(self._stop(self.running.pop(0))))

    async def call(self, job: Job, number: int, weights: tuple[int, ...] = ()) -> bool:
        """Passes a job to a process, and returns whether it was answered.

        Args:
            job: The job.
            number: Whose turn it is. Equal numbers go to the same process while none starts or leaves.
            weights: How many turns of a round each process has. Empty: one each.
        """
        index = spread(weights)[number % sum(weights)] if weights else number
        client = self.running[index % len(self.running)]
        self._calls[client] += 1
        try:
            return await client.call(job)
        finally:
            self._calls[client] -= 1
            self._call_ended.set()

    async def _stop(self, client: Client) -> None:
        while self._calls[client]:
            self._call_ended.clear()
            await self._call_ended.wait()
        await client.aclose()

    async def aclose(self) -> None:
        """Stops all processes, after all calls have ended."""
        self.resize(0)
        for left in await asyncio.gather(*self._leaving, return_exceptions=True):
            if isinstance(left, BaseException):
                raise left


@cache
def spread(weights: tuple[int, ...]) -> tuple[int, ...]:
    """One round of turns by weight, as even as possible: nginx's smooth weighted round robin."""
    turns, credit = [], [0] * len(weights)
    for _ in range(sum(weights)):
        credit = [each + weight for each, weight in zip(credit, weights, strict=True)]
        index = max(range(len(weights)), key=credit.__getitem__)
        credit[index] -= sum(weights)
        turns.append(index)
    return tuple(turns)
