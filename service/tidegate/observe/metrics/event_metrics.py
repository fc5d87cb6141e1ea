"""The counters and histograms that events update, and those of their series that exist from the start."""

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry

from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.caller import DEFAULT_CALLER, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import DIMENSIONS
from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.instruments import Instruments
from tidegate.observe.metrics.labels import (
    FALLBACK_REASONS,
    HEAD_STATUSES,
    NONE,
    RATE_LIMITED_BY,
    RETRY_REASONS,
    SERVED,
    WORKFLOW_OUTCOMES,
)

__all__ = ["EventMetrics"]

_ALERTED_STATUSES: Final = ("401", "404", "429", "500", "529", "error", "deadline")
"""Attempt statuses that alerts watch. Their series exist at 0 from the start."""

_CAUSES_WITHOUT_POOL: Final = (Cause.LOOP, Cause.UNAUTHENTICATED, Cause.FORBIDDEN, Cause.LEDGER_UNAVAILABLE)
"""Causes of refusals that happen before the pool is known."""


class EventMetrics:
    """One attribute per metric of the catalogue that an event updates.

    The methods create series at 0 for the counters that alerts watch, because Prometheus does not count the first value
    of a series as an increase. Callers must hold `lock` to look up or update a metric.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        instruments = Instruments(registry)
        self.lock = instruments.lock
        self.requests = instruments.counter(catalogue.REQUESTS)
        self.failed_calls = instruments.counter(catalogue.FAILED_CALLS)
        self.request_duration = instruments.histogram(catalogue.REQUEST_DURATION)
        self.attempts = instruments.counter(catalogue.UPSTREAM_ATTEMPTS)
        self.attempt_duration = instruments.histogram(catalogue.UPSTREAM_DURATION)
        self.first_token = instruments.histogram(catalogue.TIME_TO_FIRST_TOKEN)
        self.cost_usd = instruments.counter(catalogue.COST_USD)
        self.unpriced = instruments.counter(catalogue.UNPRICED_TOKENS)
        self.spend_capped = instruments.counter(catalogue.SPEND_CAPPED)
        self.anomalies = instruments.counter(catalogue.ANOMALIES)
        self.heads_refused = instruments.counter(catalogue.HEADS_REFUSED)
        self.rate_limited = instruments.counter(catalogue.RATE_LIMITED)
        self.refused = instruments.counter(catalogue.REFUSED)
        self.retries = instruments.counter(catalogue.RETRIES)
        self.retry_wait = instruments.histogram(catalogue.RETRY_WAIT)
        self.tokens = instruments.counter(catalogue.TOKENS)
        self.charged = instruments.counter(catalogue.QUOTA_CHARGED)
        self.queue_wait = instruments.histogram(catalogue.QUEUE_WAIT)
        self.caller_wait = instruments.histogram(catalogue.CALLER_WAIT)
        self.excess_wait = instruments.histogram(catalogue.EXCESS_WAIT)
        self.estimate_error = instruments.histogram(catalogue.ESTIMATE_ERROR)
        self.overhead = instruments.histogram(catalogue.OVERHEAD)
        self.workflows = instruments.counter(catalogue.WORKFLOWS)
        self.fallbacks = instruments.counter(catalogue.FALLBACKS)

    def create_poolless_series(self) -> None:
        """Creates the series that need no pool."""
        self.failed_calls[NONE,].inc(0)
        for route in SERVED:
            self.requests[route, NONE, DEFAULT_CALLER.label, "upstream_error"].inc(0)
        for cause in Cause:
            self.refused[NONE, DEFAULT_CALLER.label, cause].inc(0)
        for outcome in WORKFLOW_OUTCOMES:
            self.workflows[outcome,].inc(0)
        for reason in FALLBACK_REASONS:
            self.fallbacks[reason,].inc(0)
        for kind in AnomalyKind:
            self.anomalies[kind,].inc(0)
        for head_status in HEAD_STATUSES:
            self.heads_refused[head_status,].inc(0)

    def create_pool_series(self, pool: str, classes: Iterable[Priority]) -> None:
        """Creates the series of a pool."""
        self.failed_calls[pool,].inc(0)
        for dimension in RATE_LIMITED_BY:
            self.rate_limited[pool, dimension].inc(0)
        for cause in Cause:
            if cause not in _CAUSES_WITHOUT_POOL:
                self.refused[pool, DEFAULT_CALLER.label, cause].inc(0)
        for reason in RETRY_REASONS:
            self.retries[pool, reason].inc(0)
        self.spend_capped[pool,].inc(0)
        for dimension in DIMENSIONS:
            self.charged[pool, dimension].inc(0)
        for priority in classes:
            _ = self.queue_wait[pool, priority]  # the lookup creates it
            if priority is not Priority.BATCH:
                _ = self.excess_wait[pool, priority]

    def create_attempt_series(self, pool: str, model: str) -> None:
        """Creates the series of the attempts for a model."""
        for status in _ALERTED_STATUSES:
            self.attempts[pool, model, status].inc(0)
        _ = self.attempt_duration[pool, model]  # the lookup creates it
