"""Metrics of what an operator must mend: the configuration, the saved state, and keys that end soon."""

import time
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tidegate.observe.metrics import catalogue

__all__ = ["UpkeepMetrics"]


class UpkeepMetrics(Collector):
    """Exports what an operator must mend.

    Args:
        next_key_end: returns when the next key of the ledger ends, as Unix time; None if no key ends. Must not block.
        wall_seconds: the wall clock.

    Attributes:
        reload_refused: whether the latest reload was refused.
        state_unreadable: whether the saved state could not be read at the start.
    """

    def __init__(
        self,
        next_key_end: Callable[[], float | None] = lambda: None,
        wall_seconds: Callable[[], float] = time.time,
    ) -> None:
        self._next_key_end = next_key_end
        self._wall_seconds = wall_seconds
        self.reload_refused = False
        self.state_unreadable = False

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The families without samples."""
        for metric in (catalogue.RELOAD_REFUSED, catalogue.STATE_UNREADABLE, catalogue.KEY_ENDS):
            yield GaugeMetricFamily(metric.name, metric.help, unit=metric.unit)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families with the current values."""
        end = self._next_key_end()
        left_seconds = None if end is None else end - self._wall_seconds()
        for family, value in zip(
            self.describe(), (self.reload_refused, self.state_unreadable, left_seconds), strict=True
        ):
            if value is not None:
                family.add_metric([], float(value))
            yield family
