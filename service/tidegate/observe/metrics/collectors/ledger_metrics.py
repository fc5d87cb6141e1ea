"""Metrics of the ledger. Without one, none of them is exported."""

from collections.abc import Callable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from tidegate.core.domain.pause import NO_PAUSES, Pauses
from tidegate.core.ports.usage_sink import SinkStatus
from tidegate.observe.metrics import catalogue

__all__ = ["LedgerMetrics"]


class LedgerMetrics(Collector):
    """Exports the state of the ledger at each scrape.

    Args:
        status: returns the state; must not block.
        pauses: returns the pauses in effect.
    """

    def __init__(self, status: Callable[[], SinkStatus], pauses: Callable[[], Pauses] = lambda: NO_PAUSES) -> None:
        self._status = status
        self._pauses = pauses

    def describe(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The families without samples."""
        for metric in (catalogue.LEDGER_UP, catalogue.LEDGER_UNWRITTEN):
            yield GaugeMetricFamily(metric.name, metric.help, unit=metric.unit)
        for metric in (catalogue.LEDGER_WRITE_FAILURES, catalogue.LEDGER_LOST):
            yield CounterMetricFamily(metric.name, metric.help)
        yield GaugeMetricFamily(catalogue.PAUSED.name, catalogue.PAUSED.help, labels=catalogue.PAUSED.labels)

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        """The families with the current values."""
        status = self._status()
        *families, paused = self.describe()
        for family, value in zip(
            families, (status.up, status.unwritten_seconds, status.failures, status.lost), strict=True
        ):
            family.add_metric([], float(value))
            yield family
        for kind, count in self._pauses().by_kind().items():
            paused.add_metric([kind], float(count))
        yield paused
