"""The oracle: a client that sees the exact state of the simulated upstream. It shows what is attainable."""

import asyncio
from heapq import heappop, heappush
from itertools import count

from benchmarks.goodput.connection import Rejection, Stream, UpstreamConnection
from benchmarks.goodput.records import Job

__all__ = ["OracleClient"]

_AGAIN_SECONDS = 0.25
"""Pause before the next attempt if no event would admit a request, or if requests fail at random."""
_LEAST_WAIT_SECONDS = 1e-6
"""Avoids a busy loop."""
_LONGEST_WAIT_SECONDS = 1.0
"""Another caller may come first meanwhile."""


class OracleClient:
    """Sends each request as soon as the upstream would admit it; callers take turns by weight.

    One object serves all processes that share the key.
    """

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self._numbers = count()
        self._served: dict[str, float] = {}
        self._turn = 0.0
        self._queue: list[tuple[float, int, Job, asyncio.Future[Stream]]] = []
        self._driver: asyncio.Task[None] | None = None

    async def call(self, job: Job) -> bool:
        sent: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()
        turn = max(self._turn, self._served.get(job.caller.name, 0.0)) + self._size(job) / job.caller.weight
        self._served[job.caller.name] = turn
        heappush(self._queue, (turn, next(self._numbers), job, sent))
        if self._driver is None or self._driver.done():
            self._driver = asyncio.create_task(self._drive())
        await (await sent).finish()
        return True

    async def aclose(self) -> None:
        if self._driver is not None:
            self._driver.cancel()
            await asyncio.gather(self._driver, return_exceptions=True)

    def _size(self, job: Job) -> float:
        """The share of a minute's quota that a job uses, in the dimension with the highest share."""
        limits, shape = self._connection.limits, job.shape
        return max(
            1 / limits.requests_per_minute,
            (shape.input_tokens + shape.prefix_tokens) / limits.input_tokens_per_minute,
            shape.output_tokens / limits.output_tokens_per_minute,
        )

    async def _drive(self) -> None:
        while self._queue:
            turn, _, job, sent = self._queue[0]
            if sent.done():  # cancelled
                heappop(self._queue)
                continue
            wait_seconds = self._connection.seconds_until_fits(job)
            if wait_seconds != 0:
                await asyncio.sleep(min(max(wait_seconds, _LEAST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS))
                continue
            try:
                stream = self._connection.open(job)
            except Rejection:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            heappop(self._queue)
            self._turn = turn
            sent.set_result(stream)
