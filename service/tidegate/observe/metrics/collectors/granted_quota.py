"""`tidegate_quota_granted_total`: the quota granted by the upstream's limits, the base for the used share."""

import threading
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from tidegate.core.domain.nanoseconds import NS_PER_MINUTE
from tidegate.core.domain.snapshots import PoolSnapshot
from tidegate.core.ports.clock import Clock
from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.metrics_observer import MetricsObserver

__all__ = ["QuotaCollector"]


class QuotaCollector(Collector):
    """Exports the integral over time of every limit that the upstream reports. Each scrape updates it.

    A limit counts from the scrape that first sees it. If it changed since the previous scrape, the new value counts
    for the whole interval.

    Args:
        snapshots: returns the state of all pools; must not block.
        clock: measures the time between scrapes.
        observer: knows which pools have their own label.
        counts: whether this process counts: of replicas that share their limits, only the leader does. The others
            export nothing, so that the sum over all replicas is right.
    """

    def __init__(
        self,
        snapshots: Callable[[], Iterable[PoolSnapshot]],
        clock: Clock,
        observer: MetricsObserver,
        counts: Callable[[], bool] = lambda: True,
    ) -> None:
        self._snapshots = snapshots
        self._clock = clock
        self._observer = observer
        self._counts = counts
        self._granted: dict[tuple[str, str], float] = {}
        self._at_ns = clock.monotonic_ns()
        self._lock = threading.Lock()  # scrapes are rendered in threads, several at a time

    def describe(self) -> Iterator[CounterMetricFamily]:
        """The family without samples, so that registration reads no pool."""
        return iter([_family()])

    def collect(self) -> Iterator[CounterMetricFamily]:
        """The family with the quota granted up to now."""
        family = _family()
        with self._lock:
            now_ns = self._clock.monotonic_ns()
            minutes = (now_ns - self._at_ns) / NS_PER_MINUTE
            self._at_ns = now_ns
            if not self._counts():
                yield family
                return
            for pool in self._snapshots():
                if self._observer.has_own_label(pool.pool):
                    self._grant(pool, minutes)
            for labels, granted in self._granted.items():
                family.add_metric(labels, granted)
        yield family

    def _grant(self, pool: PoolSnapshot, minutes: float) -> None:
        for limit in pool.dimensions:
            if limit.upstream_per_minute is not None:
                key = pool.pool, str(limit.dimension)
                # A new limit starts at 0: it was not in force since the previous scrape.
                self._granted[key] = (
                    self._granted[key] + minutes * limit.upstream_per_minute if key in self._granted else 0.0
                )


def _family() -> CounterMetricFamily:
    metric = catalogue.QUOTA_GRANTED
    return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
