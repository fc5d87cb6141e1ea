"""Fast counters and histograms that prometheus_client exports.

Every call updates two dozen of them. The instruments of prometheus_client take three times as long, mostly because each
has its own lock.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, Protocol, TypeVar

from prometheus_client import CollectorRegistry
from prometheus_client.core import Exemplar, Metric, Sample
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from tidegate.observe.metrics import catalogue

__all__ = ["Children", "Counter", "Histogram", "Instruments"]


class _Child(Protocol):
    def samples(self, name: str, labels: dict[str, str]) -> Iterator[Sample]: ...


class Counter:
    """A count that only grows."""

    __slots__ = ("_exemplar", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._exemplar: Exemplar | None = None

    def inc(self, amount: float = 1.0, exemplar: Mapping[str, str] | None = None) -> None:
        """Adds an amount of at least 0. The exemplar replaces the previous one."""
        self._value += amount
        if exemplar:
            self._exemplar = Exemplar(dict(exemplar), amount, time.time())

    def samples(self, name: str, labels: dict[str, str]) -> Iterator[Sample]:
        """The sample of this counter in the exposition."""
        yield Sample(f"{name}_total", labels, self._value, None, self._exemplar)


class Histogram:
    """Counts values in buckets with inclusive upper bounds."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._exemplars: dict[int, Exemplar] = {}
        self._sum = 0.0

    def observe(self, value: float, exemplar: Mapping[str, str] | None = None) -> None:
        """Counts a value of at least 0. The exemplar replaces the previous one of the bucket."""
        index = bisect_left(self._bounds, value)
        self._counts[index] += 1
        self._sum += value
        if exemplar:
            self._exemplars[index] = Exemplar(dict(exemplar), value, time.time())

    def samples(self, name: str, labels: dict[str, str]) -> Iterator[Sample]:
        """The samples of this histogram in the exposition."""
        seen = 0
        for index, (bound, count) in enumerate(zip((*self._bounds, float("inf")), self._counts, strict=True)):
            seen += count
            at_most = {**labels, "le": floatToGoString(bound)}  # type: ignore[no-untyped-call]  # the library's
            yield Sample(f"{name}_bucket", at_most, seen, None, self._exemplars.get(index))
        yield Sample(f"{name}_count", labels, seen)
        yield Sample(f"{name}_sum", labels, self._sum)


Child = TypeVar("Child", bound=_Child)


class Children(dict[tuple[str, ...], Child], Generic[Child]):
    """The children of one metric by label values, in the catalogue's order of labels. A lookup creates missing ones.

    Callers must bound the label values first: each combination is kept and exported until the process ends.
    """

    def __init__(self, make: Callable[[], Child]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, labels: tuple[str, ...]) -> Child:
        child = self[labels] = self._make()
        return child


class _Family(Collector, Generic[Child]):
    """Exports the children of one metric."""

    def __init__(self, metric: catalogue.Metric, children: Children[Child], lock: threading.Lock) -> None:
        self._metric = metric
        self._children = children
        self._lock = lock
        if not metric.labels:
            _ = children[()]  # exported at 0 from the start

    def describe(self) -> Iterator[Metric]:
        """The family without samples."""
        metric = self._metric
        yield Metric(metric.name.removesuffix("_total"), metric.help, metric.type, metric.unit)

    def collect(self) -> Iterator[Metric]:
        """The family with the current values."""
        for family in self.describe():
            for labels, child in self._children.copy().items():
                with self._lock:  # taken per child, so that updates never wait for long
                    family.samples += child.samples(family.name, dict(zip(self._metric.labels, labels, strict=True)))
            yield family


class Instruments:
    """Registers counters and histograms of the catalogue.

    Attributes:
        lock: must be held to look up or update any of them. One event takes it once; scrapes take it, too.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.lock = threading.Lock()
        self._registry = registry

    def counter(self, metric: catalogue.Metric) -> Children[Counter]:
        """Registers a counter."""
        return self._registered(metric, Children(Counter))

    def histogram(self, metric: catalogue.Metric) -> Children[Histogram]:
        """Registers a histogram."""
        return self._registered(metric, Children(lambda: Histogram(metric.buckets)))

    def _registered(self, metric: catalogue.Metric, children: Children[Child]) -> Children[Child]:
        self._registry.register(_Family(metric, children, self.lock))
        return children
