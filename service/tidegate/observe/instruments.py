"""Counters and histograms of prometheus_client, built from the catalogue."""

from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.metrics import MetricWrapperBase

from tidegate.observe.catalogue import Metric

__all__ = ["Children", "counter", "histogram"]

# One `_created` gauge beside every child would double the number of series of the counters, and nobody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's

Instrument = TypeVar("Instrument", bound=MetricWrapperBase)


class Children(dict[tuple[str, ...], Instrument], Generic[Instrument]):
    """The children of one metric by their label values: a look-up costs a tenth of `labels()`.

    Whoever looks up bounds the label values first: every new combination is kept, and exported, for ever.
    """

    def __init__(self, parent: Instrument) -> None:
        super().__init__()
        self._parent = parent

    def __missing__(self, labels: tuple[str, ...]) -> Instrument:
        child = self[labels] = self._parent.labels(*labels) if labels else self._parent
        return child


def counter(metric: Metric, registry: CollectorRegistry) -> Children[Counter]:
    """Registers a counter of the catalogue."""
    return Children(Counter(metric.name, metric.help, metric.labels, unit=metric.unit, registry=registry))


def histogram(metric: Metric, registry: CollectorRegistry) -> Children[Histogram]:
    """Registers a histogram of the catalogue."""
    return Children(
        Histogram(metric.name, metric.help, metric.labels, unit=metric.unit, registry=registry, buckets=metric.buckets)
    )
