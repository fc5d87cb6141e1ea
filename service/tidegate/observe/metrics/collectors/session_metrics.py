"""The number of active sessions. Sessions have no label of their own: clients invent their ids."""

from collections.abc import Callable, Iterable, Iterator
from threading import Lock
from typing import Any, Self

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry

from tidegate.core.domain.events import AttemptFinished, Event
from tidegate.core.ports.clock import Clock
from tidegate.observe.metrics import catalogue
from tidegate.observe.recent.recent_sessions import RecentSessions

__all__ = ["SessionMetrics"]


class SessionMetrics(Collector):
    """Exports how many sessions have been active in the last minutes, counted at each scrape.

    Args:
        clock: measures how long ago a session was active.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sessions = RecentSessions()
        self._lock = Lock()

    @classmethod
    def registered(cls, registry: CollectorRegistry, clock: Clock) -> Self:
        """Metrics that this registry exports."""
        metrics = cls(clock)
        registry.register(metrics)
        return metrics

    @property
    def handlers(self) -> Iterable[tuple[type[Event], Callable[[Any], None]]]:
        """Event types and their handlers, for observers."""
        return ((AttemptFinished, self._attempt_finished),)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """The family without samples."""
        metric = catalogue.SESSIONS_ACTIVE
        yield GaugeMetricFamily(metric.name, metric.help)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The family with the current value."""
        with self._lock:
            count = self._sessions.count(self._clock.monotonic_ns())
        for family in self.describe():
            family.add_metric([], count)
            yield family

    def _attempt_finished(self, event: AttemptFinished) -> None:
        if event.session:
            with self._lock:
                self._sessions.see(event.caller.name, event.session, self._clock.monotonic_ns())
