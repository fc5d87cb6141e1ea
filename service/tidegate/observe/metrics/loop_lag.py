"""How late the event loop is, for every call in the process is late by as much; and how many tasks it has."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Final, NoReturn

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.ports.clock import Clock
from tidegate.observe.beside import beside
from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.instruments import Instruments

__all__ = ["measured_loop_lag"]

_EVERY_SECONDS: Final = 0.1
"""Often enough to catch a stall of a tenth of a second; costs ten timers a second."""


@contextlib.asynccontextmanager
async def measured_loop_lag(registry: CollectorRegistry, clock: Clock) -> AsyncIterator[None]:
    """Measures the running event loop's lag while the block runs: how much later than due a timer fires.

    Its tasks are counted at each scrape, also after the block.
    """
    registry.register(_Tasks(asyncio.get_running_loop()))
    instruments = Instruments(registry)
    lag = instruments.histogram(catalogue.EVENT_LOOP_LAG)[()]

    async def measure() -> NoReturn:
        while True:
            started_ns = clock.monotonic_ns()
            await asyncio.sleep(_EVERY_SECONDS)
            late_seconds = to_seconds(clock.monotonic_ns() - started_ns) - _EVERY_SECONDS
            with instruments.lock:
                lag.observe(max(0.0, late_seconds))

    async with beside(measure()):
        yield


class _Tasks(Collector):
    """Counts the tasks of an event loop when somebody asks."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Its name alone: nobody need be asked for that."""
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The number of tasks now."""
        family = self._family()
        family.add_metric([], len(asyncio.all_tasks(self._loop)))
        yield family

    @staticmethod
    def _family() -> GaugeMetricFamily:
        metric = catalogue.EVENT_LOOP_TASKS
        return GaugeMetricFamily(metric.name, metric.help)
