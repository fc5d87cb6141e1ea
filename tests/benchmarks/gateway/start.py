"""Time from the start of a process to its first response."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from benchmarks.gateway.client import Client, message_request
from benchmarks.gateway.contenders import Started

__all__ = ["FirstAnswer", "first_answer"]

_POLL_SECONDS: Final = 0.01
_MAX_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class FirstAnswer:
    """The time to the first response, and the memory of the idle process after it."""

    seconds: float
    cpu_seconds: float
    idle_megabytes: float


async def first_answer(target: Started, since: float) -> FirstAnswer:
    """Call a relay until it responds. `since` is when its process was started, by `time.perf_counter`.

    Raises:
        RuntimeError: It ended, or did not respond within a minute.
    """
    while not await _answers(target):
        if target.process is not None:
            target.process.check()
        if time.perf_counter() - since > _MAX_SECONDS:
            raise RuntimeError(f"{target.name} did not answer")
        await asyncio.sleep(_POLL_SECONDS)
    seconds = time.perf_counter() - since
    if target.process is None:
        return FirstAnswer(seconds, 0.0, 0.0)
    return FirstAnswer(seconds, target.process.cpu_seconds(), target.process.resident_bytes() / 1e6)


async def _answers(target: Started) -> bool:
    try:
        client = await Client.connect(target.port)
    except OSError:
        return False
    try:
        await client.call(message_request(target.port, 2_000))
    except RuntimeError:  # it listens but is not ready
        return False
    finally:
        client.close()
    return True
