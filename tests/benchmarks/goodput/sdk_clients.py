"""Clients for comparison: the Anthropic SDK's retries, alone and behind a limiter that knows the request limit."""

import asyncio
from random import Random
from typing import Final, Protocol

from aiolimiter import AsyncLimiter

from benchmarks.goodput.connection import Rejection, UpstreamConnection
from benchmarks.goodput.records import Job

__all__ = ["Client", "LimitedSdkClient", "SdkClient"]

_RETRIES: Final = 10
_FIRST_DELAY_SECONDS: Final = 0.5
_LONGEST_DELAY_SECONDS: Final = 8.0


class Client(Protocol):
    """A client under test; one object per process that shares the key."""

    async def call(self, job: Job) -> bool:
        """Send a job, and return whether it was answered. May be cancelled."""
        ...

    async def aclose(self) -> None:
        """Stop background work, after all calls have ended."""
        ...


class SdkClient:
    """Sends at once and retries like `anthropic` 2.12.0 (`_base_client.py`, `_calculate_retry_timeout`)."""

    def __init__(self, connection: UpstreamConnection, rng: Random) -> None:
        self._connection = connection
        self._rng = rng

    async def call(self, job: Job) -> bool:
        for repetition in range(_RETRIES + 1):
            try:
                stream = await self._connection.send(job)
            except Rejection as rejection:
                if repetition < _RETRIES:
                    await asyncio.sleep(self._delay_seconds(repetition, rejection.retry_after_seconds))
                continue
            await stream.finish()
            return True
        return False

    async def aclose(self) -> None:
        """There is no background work."""

    def _delay_seconds(self, repetition: int, retry_after_seconds: float | None) -> float:
        if retry_after_seconds:
            return retry_after_seconds
        backoff_seconds = min(_FIRST_DELAY_SECONDS * 2.0**repetition, _LONGEST_DELAY_SECONDS)
        return backoff_seconds * (1 - 0.25 * self._rng.random())


class LimitedSdkClient:
    """aiolimiter with the true limit of requests per minute, and the SDK's retries."""

    def __init__(self, connection: UpstreamConnection, rng: Random, requests_per_minute: float) -> None:
        self._limiter = AsyncLimiter(requests_per_minute, time_period=60)
        self._sdk = SdkClient(connection, rng)

    async def call(self, job: Job) -> bool:
        await self._limiter.acquire()
        return await self._sdk.call(job)

    async def aclose(self) -> None:
        """There is no background work."""
