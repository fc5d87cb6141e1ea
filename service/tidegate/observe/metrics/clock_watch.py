"""Tells when a clock of the machine steps, or the machine was suspended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final, NoReturn

from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.events import Anomaly, Event
from tidegate.core.ports.clock import Clock
from tidegate.observe.beside import beside
from tidegate.observe.metrics.clock_steps import ClockSteps

__all__ = ["watched_clock"]

_EVERY_SECONDS: Final = 1.0


@contextlib.asynccontextmanager
async def watched_clock(clock: Clock, report: Callable[[Event], None]) -> AsyncIterator[None]:
    """Watches a clock while the block runs: the machine's own, as it is, not one that steps have been taken out of."""
    steps = ClockSteps(clock.monotonic_ns(), clock.wall_seconds())

    async def watch() -> NoReturn:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            if steps.stepped(clock.monotonic_ns(), clock.wall_seconds()):
                report(Anomaly("", AnomalyKind.CLOCK))

    async with beside(watch()):
        yield
