"""The field: the Anthropic SDK's own retries, alone and behind a limiter that is set to the true request limit."""

import asyncio
from random import Random
from typing import Final, Protocol

from aiolimiter import AsyncLimiter

from benchmarks.goodput.line import Line, Rejection
from benchmarks.goodput.records import Job

__all__ = ["Client", "LimitedSdkClient", "SdkClient"]

_RETRIES: Final = 10
_FIRST_DELAY_SECONDS: Final = 0.5
_LONGEST_DELAY_SECONDS: Final = 8.0


class Client(Protocol):
    """A way to get requests answered; one object per process that shares the key."""

    async def call(self, job: Job) -> bool:
        """Whether the job was answered. May be cancelled when nobody waits any longer."""
        ...

    async def aclose(self) -> None:
        """Ends what is still at work when all calls have ended."""
        ...


class SdkClient:
    """Sends at once and repeats as `anthropic` 2.12.0 does (`_base_client.py`, `_calculate_retry_timeout`)."""

    def __init__(self, line: Line, rng: Random) -> None:
        self._line = line
        self._rng = rng

    async def call(self, job: Job) -> bool:
        for repetition in range(_RETRIES + 1):
            try:
                stream = await self._line.send(job)
            except Rejection as rejection:
                if repetition < _RETRIES:
                    await asyncio.sleep(self._delay_seconds(repetition, rejection.retry_after_seconds))
                continue
            await stream.finish()
            return True
        return False

    async def aclose(self) -> None:
        """Nothing is at work."""

    def _delay_seconds(self, repetition: int, retry_after_seconds: float | None) -> float:
        if retry_after_seconds:
            return retry_after_seconds
        backoff_seconds = min(_FIRST_DELAY_SECONDS * 2.0**repetition, _LONGEST_DELAY_SECONDS)
        return backoff_seconds * (1 - 0.25 * self._rng.random())


class LimitedSdkClient:
    """aiolimiter at the true number of requests a minute, set by somebody who knows it; then the SDK's retries."""

    def __init__(self, line: Line, rng: Random, requests_per_minute: float) -> None:
        self._limiter = AsyncLimiter(requests_per_minute, time_period=60)
        self._sdk = SdkClient(line, rng)

    async def call(self, job: Job) -> bool:
        await self._limiter.acquire()
        return await self._sdk.call(job)

    async def aclose(self) -> None:
        """Nothing is at work."""
