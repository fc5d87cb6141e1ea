"""Calls at a fixed rate from one client, and how each of them ended."""

import asyncio
import random
import time
from dataclasses import dataclass, field

from support.http_connections import Answer, Connections, message_request

__all__ = ["Calls", "message_call"]


def message_call(port: int, timeout_seconds: float, body_bytes: int) -> bytes:
    """The bytes of a Messages call whose client waits this long."""
    fields = {
        "x-api-key": "a-client",
        "x-simulator-output-tokens": "10",
        "x-tidegate-timeout-seconds": f"{timeout_seconds:g}",
    }
    return message_request(port, "claude-sonnet-5-5", body_bytes, fields, max_tokens=50)


@dataclass
class Calls:
    """Starts calls at a fixed rate, whether earlier ones have ended or not (open loop).

    Attributes:
        port: of the service.
        timeouts: how long clients wait, in seconds; each call draws one.
        body_bytes: about the length of each body.
        succeeded_at: when responses with status 200 were complete, by the monotonic clock.
        refused: each refusal: when, the time its client would have waited, its `retry-after`, and its duration.
        failed: any other end, as text.
    """

    port: int
    timeouts: tuple[float, ...]
    body_bytes: int = 2_000
    succeeded_at: list[float] = field(default_factory=list)
    refused: list[tuple[float, float, float, float]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    started: int = 0

    def __post_init__(self) -> None:
        self._connections = Connections(self.port)
        self._requests = {timeout: message_call(self.port, timeout, self.body_bytes) for timeout in self.timeouts}
        self._tasks: set[asyncio.Task[object]] = set()
        self._rng = random.Random(1)  # noqa: S311

    async def run(self, per_second: float, seconds: float) -> None:
        """Starts calls at this rate for this time. Calls may still wait when it returns."""
        loop = asyncio.get_running_loop()
        next_at = begun_at = loop.time()
        while next_at < begun_at + seconds:
            await asyncio.sleep(next_at - loop.time())
            task = asyncio.create_task(self.call(self._rng.choice(self.timeouts)))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            next_at += self._rng.expovariate(per_second)

    async def finish(self) -> None:
        """Waits for all calls."""
        await asyncio.gather(*self._tasks)
        self._connections.close()

    async def call(self, timeout_seconds: float) -> Answer:
        """Makes one call, and notes its end."""
        self.started += 1
        begun = time.monotonic()
        answer = await self._connections.call(self._requests[timeout_seconds])
        ended = time.monotonic()
        retry_after = answer.headers.get("retry-after")
        if answer.status == 200 and answer.is_complete:
            self.succeeded_at.append(ended)
        elif answer.is_complete and retry_after is not None and "x-tidegate-cause" in answer.headers:
            self.refused.append((ended, timeout_seconds, float(retry_after), ended - begun))
        else:
            self.failed.append(str(answer))
        return answer

    def succeeded_between(self, begin: float, end: float) -> int:
        """Number of successes in a time of the monotonic clock."""
        return sum(begin <= at < end for at in self.succeeded_at)
