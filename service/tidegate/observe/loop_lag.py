"""How late the event loop is: every call in the process is late by as much."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from prometheus_client import CollectorRegistry

from tidegate.core.clock import Clock, to_seconds
from tidegate.observe import catalogue
from tidegate.observe.instruments import histogram

__all__ = ["measured_loop_lag"]

_EVERY_SECONDS: Final = 0.1
"""Often enough to catch a stall of a tenth of a second; costs ten timers a second."""


@contextlib.asynccontextmanager
async def measured_loop_lag(registry: CollectorRegistry, clock: Clock) -> AsyncIterator[None]:
    """Measures the running event loop's lag while the block runs: how much later than due a timer fires."""
    lag = histogram(catalogue.EVENT_LOOP_LAG, registry)[()]

    async def measure() -> None:
        while True:
            started_ns = clock.monotonic_ns()
            await asyncio.sleep(_EVERY_SECONDS)
            lag.observe(max(0.0, to_seconds(clock.monotonic_ns() - started_ns) - _EVERY_SECONDS))

    measuring = asyncio.create_task(measure())
    try:
        yield
    finally:
        measuring.cancel()
        await asyncio.wait({measuring})
