"""Gauges of the pools, read from a snapshot at each scrape."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tidegate.core.domain.cause import CIRCUIT_CAUSES
from tidegate.core.domain.snapshots import PoolSnapshot
from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.catalogue import Metric
from tidegate.observe.metrics.metrics_observer import MetricsObserver

__all__ = ["PoolCollector"]

_GAUGES: Final = (
    catalogue.LIMIT_PER_MINUTE,
    catalogue.AVAILABLE,
    catalogue.CAPACITY,
    catalogue.CURRENT_RPM,
    catalogue.ADAPTIVE_FACTOR,
    catalogue.POOL_FROZEN,
    catalogue.POOL_PROBING,
    catalogue.CIRCUIT_OPEN,
    catalogue.CONCURRENCY_LIMIT,
    catalogue.IN_FLIGHT,
    catalogue.OLDEST_LEASE,
    catalogue.QUEUE_DEPTH,
    catalogue.QUEUE_TOKENS,
    catalogue.QUEUE_OLDEST,
    catalogue.CALLER_WAITING,
)


class PoolCollector(Collector):
    """Exports the state of all pools that have their own label.

    Unknown and infinite values are absent: 0 would be wrong, and `+Inf` breaks graphs.

    Args:
        snapshots: returns the state of all pools; must not block.
        observer: knows which pools have their own label, and their `current_rpm`.
        counts: as of `QuotaCollector`, for the waiting requests, which are summed over all replicas.
    """

    def __init__(
        self,
        snapshots: Callable[[], Iterable[PoolSnapshot]],
        observer: MetricsObserver,
        counts: Callable[[], bool] = lambda: True,
    ) -> None:
        self._snapshots = snapshots
        self._observer = observer
        self._counts = counts

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The families without samples, so that registration reads no pool."""
        return map(_family, _GAUGES)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The families with the current values."""
        families = {metric.name: _family(metric) for metric in _GAUGES}

        def put(metric: Metric, labels: tuple[str, ...], value: float | None) -> None:
            if value is not None and math.isfinite(value):
                families[metric.name].add_metric(labels, value)

        requests, counts = self._observer.requests_last_minute(), self._counts()
        for pool in self._snapshots():
            if self._observer.has_own_label(pool.pool):
                _put_pool(pool, put)
                if counts:
                    _put_waiting(pool, put)
                    self._put_callers(pool, put)
                put(catalogue.CURRENT_RPM, (pool.pool,), requests.get(pool.pool, 0))
        yield from families.values()

    def _put_callers(self, pool: PoolSnapshot, put: Callable[[Metric, tuple[str, ...], float | None], None]) -> None:
        waiting: Counter[str] = Counter()
        for waiters in pool.classes.values():
            for name, count in waiters.by_caller.items():
                waiting[self._observer.caller_label(name)] += count
        for caller, count in waiting.items():
            put(catalogue.CALLER_WAITING, (pool.pool, caller, pool.binding), count)


def _family(metric: Metric) -> GaugeMetricFamily:
    return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels, unit=metric.unit)


def _put_pool(pool: PoolSnapshot, put: Callable[[Metric, tuple[str, ...], float | None], None]) -> None:
    name = pool.pool
    for limited in pool.dimensions:
        dimension = limited.dimension
        put(catalogue.LIMIT_PER_MINUTE, (name, dimension, "configured"), limited.configured_per_minute)
        put(catalogue.LIMIT_PER_MINUTE, (name, dimension, "upstream"), limited.upstream_per_minute)
        put(catalogue.LIMIT_PER_MINUTE, (name, dimension, "effective"), limited.effective_per_minute)
        put(catalogue.AVAILABLE, (name, dimension), limited.available)
        put(catalogue.CAPACITY, (name, dimension), limited.capacity)
    put(catalogue.ADAPTIVE_FACTOR, (name,), pool.adaptive_factor)
    put(catalogue.POOL_FROZEN, (name,), float(pool.frozen_seconds > 0))
    for cause in CIRCUIT_CAUSES:
        put(catalogue.CIRCUIT_OPEN, (name, cause), float(cause in pool.open_circuits))
    put(catalogue.POOL_PROBING, (name,), float(pool.probing))
    put(catalogue.CONCURRENCY_LIMIT, (name,), pool.concurrency_limit)
    put(catalogue.IN_FLIGHT, (name,), pool.in_flight)
    put(catalogue.OLDEST_LEASE, (name,), pool.oldest_lease_seconds)
    for priority, waiters in pool.classes.items():
        put(catalogue.QUEUE_OLDEST, (name, priority), waiters.oldest_seconds)


def _put_waiting(pool: PoolSnapshot, put: Callable[[Metric, tuple[str, ...], float | None], None]) -> None:
    for priority, waiters in pool.classes.items():
        put(catalogue.QUEUE_DEPTH, (pool.pool, priority), waiters.waiting)
        put(catalogue.QUEUE_TOKENS, (pool.pool, priority), waiters.tokens)
