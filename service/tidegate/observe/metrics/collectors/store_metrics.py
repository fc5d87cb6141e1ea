"""Metrics of the store that replicas share. Without one, none of them is exported."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from tidegate.core.ports.store_status import SharedStatus
from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.catalogue import Metric
from tidegate.observe.metrics.instruments import Instruments

__all__ = ["StoreMetrics"]

_GAUGES: Final[dict[Metric, Callable[[SharedStatus], float | None]]] = {
    catalogue.LEADER: lambda status: status.is_leader,
    catalogue.REPLICAS: lambda status: status.replicas,
    catalogue.STORE_UP: lambda status: status.is_up,
    catalogue.LOG_LAG: lambda status: status.log_lag_seconds,
    catalogue.SNAPSHOT_AGE: lambda status: status.snapshot_age_seconds,
    catalogue.DEGRADED: lambda status: status.is_degraded or status.is_refusing,
}


class StoreMetrics(Collector):
    """Exports the state of the shared store at each scrape, and the times that its answers took.

    Args:
        registry: where the metrics are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._instruments = Instruments(registry)
        self._latency = self._instruments.histogram(catalogue.STORE_LATENCY)[()]
        self._status: Callable[[], SharedStatus]

    def watch(self, status: Callable[[], SharedStatus]) -> None:
        """Exports the status from now on. `status` must not block."""
        self._status = status
        self._registry.register(self)

    def on_latency(self, seconds: float) -> None:
        """Counts the time that an answer took."""
        with self._instruments.lock:
            self._latency.observe(seconds)

    def describe(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The families without samples."""
        yield from map(_gauge, _GAUGES)
        yield _counter()

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The families with the current values."""
        status = self._status()
        for metric, value_of in _GAUGES.items():
            family = _gauge(metric)
            if (value := value_of(status)) is not None:
                family.add_metric([], float(value))
            yield family
        changes = _counter()
        changes.add_metric([], status.leader_changes)
        yield changes


def _gauge(metric: Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.help, unit=metric.unit)


def _counter() -> CounterMetricFamily:
    return CounterMetricFamily(catalogue.LEADER_CHANGES.name, catalogue.LEADER_CHANGES.help)
