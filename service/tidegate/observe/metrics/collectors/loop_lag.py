"""Event loop lag and task count. A late event loop delays every call in the process."""

import asyncio
from collections.abc import Iterator
from typing import Final, NoReturn

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.ports.clock import Clock
from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.instruments import Instruments

__all__ = ["measure_loop_lag"]

_INTERVAL_SECONDS: Final = 0.1
"""Short enough to catch a stall of 100 ms; costs ten timers per second."""


async def measure_loop_lag(registry: CollectorRegistry, clock: Clock) -> NoReturn:
    """Measures how late timers of the running event loop fire. Runs until it is cancelled.

    The number of tasks is read at each scrape, also after the measurement was cancelled.
    """
    registry.register(_Tasks(asyncio.get_running_loop()))
    instruments = Instruments(registry)
    lag = instruments.histogram(catalogue.EVENT_LOOP_LAG)[()]
    while True:
        started_ns = clock.monotonic_ns()
        await asyncio.sleep(_INTERVAL_SECONDS)
        late_seconds = to_seconds(clock.monotonic_ns() - started_ns) - _INTERVAL_SECONDS
        with instruments.lock:
            lag.observe(max(0.0, late_seconds))


class _Tasks(Collector):
    """Exports the number of tasks of an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The family without samples: registration does not count tasks."""
        yield self._family()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The family with the current number of tasks."""
        family = self._family()
        family.add_metric([], len(asyncio.all_tasks(self._loop)))
        yield family

    @staticmethod
    def _family() -> GaugeMetricFamily:
        metric = catalogue.EVENT_LOOP_TASKS
        return GaugeMetricFamily(metric.name, metric.help)
