"""Events become metrics."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry

from tidegate.core.claude.rate_limit_groups import (
    DEFAULT_POOL,
    ENDPOINT_POOLS,
    OTHER_ENDPOINTS,
    endpoint_pool,
    is_endpoint_pool,
    model_pool,
)
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.caller import DEFAULT_CALLER, Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Outcome
from tidegate.core.domain.dimension import DIMENSIONS, Dimension
from tidegate.core.domain.events import (
    Admitted,
    Anomaly,
    AttemptFinished,
    BatchResultsRead,
    Event,
    FallbackUsed,
    HeadRefused,
    LeaseEnded,
    RefusedCall,
    RequestFinished,
    RetryScheduled,
    SpendCapReached,
    UpstreamRateLimited,
    WorkflowFinished,
)
from tidegate.core.domain.nanoseconds import NS_PER_SECOND, to_seconds
from tidegate.core.ports.clock import Clock
from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.instruments import Instruments
from tidegate.observe.metrics.labels import (
    ATTEMPT_STATUSES,
    FALLBACK_REASONS,
    HEAD_STATUSES,
    NONE,
    OTHER,
    RATE_LIMITED_BY,
    REQUEST_OUTCOMES,
    RETRY_REASONS,
    ROUTES,
    SERVED_ROUTES,
    WORKFLOW_OUTCOMES,
    LabelSet,
    Rows,
)
from tidegate.observe.metrics.metric_rows import AdmittedRow, AttemptRow, LeaseRow, RequestRow
from tidegate.observe.metrics.prices import PriceList
from tidegate.observe.metrics.sliding_count import SlidingCount
from tidegate.observe.metrics.usage_metrics import UsageMetrics

__all__ = ["MetricsObserver"]

_ROOM: Final = 50
"""Pools, and models, that may earn a label beyond the known ones: a 2xx of the upstream says that a model exists."""

_FAILURES: Final = ("429", "500", "529", "error")
"""Attempt statuses that alerts watch: they exist at 0 before the first of them happens."""

_BEFORE_ANY_POOL: Final = (Cause.LOOP, Cause.UNAUTHENTICATED, Cause.FORBIDDEN)
"""Causes that no pool is ever told of."""

_UNDESERVED: Final = frozenset({Cause.STORE_UNAVAILABLE, Cause.UPSTREAM_CREDENTIALS, Cause.UPSTREAM_OUTAGE})
"""Refusals that no caller deserved. The others, for lack of quota or for a wrong call, are rightly given."""

_SERVED: Final = tuple(route for route in ROUTES if re.fullmatch(SERVED_ROUTES, route))
_ENDPOINTS: Final = tuple(pool for pool in ENDPOINT_POOLS if pool != "skills")
"""Endpoints with a label of their own from the start: each costs a hundred series. Few teams use skills."""
_BATCHES: Final = endpoint_pool("POST", "/v1/messages/batches")
"""What batches use counts against no limit of the Messages pools."""
_SETTLED: Final = Outcome.SETTLED  # looked up once: every call comes by here
_INPUT: Final = Dimension.INPUT_TOKENS
_OUTPUT: Final = Dimension.OUTPUT_TOKENS


def _pool_stand_in(pool: str) -> str | None:
    """Routes are as many as clients invent: those that are neither common nor configured share a label."""
    return OTHER_ENDPOINTS if is_endpoint_pool(pool) else None


class MetricsObserver:
    """Counts events in the metrics of the catalogue.

    Label values are bounded: a pool or model that is not among the known ones counts as `other` until its first 2xx, a
    caller that is not configured counts as `default` or `other`, any other value outside its set as `other`. Counters
    that alerts watch exist at 0 for every pool and model with a label, `other` included: Prometheus takes what a series
    begins with for no increase. So does money, for every caller and model with a label, and for every model with a
    price that callers without a label of their own may use.

    Args:
        registry: where the metrics are registered; one observer per registry.
        clock: tells when requests were admitted, for `current_rpm`.
        models: models known from the configuration; their pools are known, too.
        pools: further pools known from the configuration.
        callers: labels of the configured callers.
        classes: priority classes that they have.
        prices: what tokens cost; the list that comes with Tidegate unless given.
        exemplar: gives the ids of the span around an event, for durations and for what went wrong; None where nothing
            is traced.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        clock: Clock,
        *,
        models: Iterable[str] = (),
        pools: Iterable[str] = (),
        callers: Iterable[str] = (),
        classes: Iterable[Priority] = (),
        prices: PriceList | None = None,
        exemplar: Callable[[], Mapping[str, str] | None] | None = None,
    ) -> None:
        models = tuple(models)
        self._caller_labels = tuple(dict.fromkeys((DEFAULT_CALLER.label, *callers)))
        self._classes = frozenset((DEFAULT_CALLER.priority, *classes))
        known_pools = tuple(dict.fromkeys((DEFAULT_POOL, *_ENDPOINTS, *pools, *map(model_pool, models))))
        self._clock = clock
        self._exemplar = exemplar
        self._prices = prices or PriceList.bundled()
        self._pools = LabelSet(known_pools, _ROOM, stand_in=_pool_stand_in)
        self._models = LabelSet(models, _ROOM)
        self._callers = LabelSet(self._caller_labels)
        self._routes = LabelSet(ROUTES)
        self._request_outcomes = LabelSet(REQUEST_OUTCOMES)
        self._request_rows = Rows(self._request_row, self._routes, self._pools, self._callers, self._request_outcomes)
        self._attempt_rows = Rows(self._attempt_row, self._pools, self._models, LabelSet(ATTEMPT_STATUSES))
        self._lease_rows = Rows(self._lease_row, self._pools)
        self._admitted_rows = Rows(self._admitted_row, self._pools, LabelSet(Priority))
        self._rate_limited_by = LabelSet(RATE_LIMITED_BY)
        self._retry_reasons = LabelSet(RETRY_REASONS)
        self._anomaly_kinds = LabelSet(AnomalyKind)
        self._head_statuses = LabelSet(HEAD_STATUSES)
        self._workflow_outcomes = LabelSet(WORKFLOW_OUTCOMES)
        self._fallback_reasons = LabelSet(FALLBACK_REASONS)

        instruments = Instruments(registry)
        self._lock = instruments.lock
        self._requests = instruments.counter(catalogue.REQUESTS)
        self._failed_calls = instruments.counter(catalogue.FAILED_CALLS)
        self._request_duration = instruments.histogram(catalogue.REQUEST_DURATION)
        self._attempts = instruments.counter(catalogue.UPSTREAM_ATTEMPTS)
        self._attempt_duration = instruments.histogram(catalogue.UPSTREAM_DURATION)
        self._first_token = instruments.histogram(catalogue.TIME_TO_FIRST_TOKEN)
        cost_usd = instruments.counter(catalogue.COST_USD)
        unpriced = instruments.counter(catalogue.UNPRICED_TOKENS)
        self._spend_capped = instruments.counter(catalogue.SPEND_CAPPED)
        self._anomalies = instruments.counter(catalogue.ANOMALIES)
        self._heads_refused = instruments.counter(catalogue.HEADS_REFUSED)
        self._rate_limited = instruments.counter(catalogue.RATE_LIMITED)
        self._refused = instruments.counter(catalogue.REFUSED)
        self._retries = instruments.counter(catalogue.RETRIES)
        self._retry_wait = instruments.histogram(catalogue.RETRY_WAIT)
        tokens = instruments.counter(catalogue.TOKENS)
        self._charged = instruments.counter(catalogue.QUOTA_CHARGED)
        self._queue_wait = instruments.histogram(catalogue.QUEUE_WAIT)
        self._estimate_error = instruments.histogram(catalogue.ESTIMATE_ERROR)
        self._overhead = instruments.histogram(catalogue.OVERHEAD)
        self._workflows = instruments.counter(catalogue.WORKFLOWS)
        self._fallbacks = instruments.counter(catalogue.FALLBACKS)
        self._usage = UsageMetrics(
            clock,
            self._prices,
            tokens=tokens,
            cost_usd=cost_usd,
            unpriced=unpriced,
            labels=(self._pools, self._models, self._callers),
        )
        self._admissions: defaultdict[str, SlidingCount] = defaultdict(SlidingCount)

        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            RequestFinished: self._request_finished,
            AttemptFinished: self._attempt_finished,
            BatchResultsRead: self._batch_results_read,
            HeadRefused: self._head_refused,
            UpstreamRateLimited: self._upstream_rate_limited,
            SpendCapReached: self._spend_cap_reached,
            Anomaly: self._anomaly,
            RefusedCall: self._refused_call,
            RetryScheduled: self._retry_scheduled,
            Admitted: self._admitted,
            LeaseEnded: self._lease_ended,
            WorkflowFinished: self._workflow_finished,
            FallbackUsed: self._fallback_used,
        }

        self._start(known_pools, models)

    @property
    def listeners(self) -> Iterable[tuple[type[Event], Callable[[Any], None]]]:
        """What counts which kind of event, for `Observers`."""
        return self._handlers.items()

    def event(self, event: Event) -> None:
        """Counts an event; those that no metric tells of are ignored. Thread-safe."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def has_own_label(self, pool: str) -> bool:
        """Whether a pool is told apart from `other`; only such pools have gauges."""
        return self._pools.owns(pool)

    def requests_last_minute(self) -> dict[str, int]:
        """Requests admitted in the last 60 seconds, by the label of the pool."""
        now_ns = self._clock.monotonic_ns()
        with self._lock:
            return {pool: admissions.total(now_ns) for pool, admissions in self._admissions.items()}

    def _start(self, pools: Iterable[str], models: Iterable[str]) -> None:
        for pool in (*pools, OTHER):
            self._start_pool(pool)
        for pool in (*_ENDPOINTS, OTHER):
            self._start_attempts(pool, OTHER if pool == OTHER else NONE)
        for model in models:
            self._start_attempts(model_pool(model), model)
            self._usage.start(model, self._caller_labels)
        for model in self._prices.models:
            self._usage.start(model, (DEFAULT_CALLER.label,))
        self._start_without_pool()

    def _start_without_pool(self) -> None:
        self._failed_calls[NONE,].inc(0)
        for route in _SERVED:
            self._requests[route, NONE, DEFAULT_CALLER.label, "upstream_error"].inc(0)
        for cause in Cause:
            self._refused[NONE, DEFAULT_CALLER.label, cause].inc(0)
        for outcome in WORKFLOW_OUTCOMES:
            self._workflows[outcome,].inc(0)
        for reason in FALLBACK_REASONS:
            self._fallbacks[reason,].inc(0)
        for kind in AnomalyKind:
            self._anomalies[kind,].inc(0)
        for head_status in HEAD_STATUSES:
            self._heads_refused[head_status,].inc(0)

    def _start_pool(self, pool: str) -> None:
        self._failed_calls[pool,].inc(0)
        for dimension in RATE_LIMITED_BY:
            self._rate_limited[pool, dimension].inc(0)
        for cause in Cause:
            if cause not in _BEFORE_ANY_POOL:
                self._refused[pool, DEFAULT_CALLER.label, cause].inc(0)
        for reason in RETRY_REASONS:
            self._retries[pool, reason].inc(0)
        self._spend_capped[pool,].inc(0)
        for dimension in DIMENSIONS:
            self._charged[pool, dimension].inc(0)
        for priority in self._classes:
            _ = self._queue_wait[pool, priority]  # exists from now on

    def _start_attempts(self, pool: str, model: str) -> None:
        for status in _FAILURES:
            self._attempts[pool, model, status].inc(0)
        _ = self._attempt_duration[pool, model]  # exists from now on

    def _request_row(self, route: str, pool: str, caller: str, outcome: str) -> RequestRow:
        is_failure = route in _SERVED and outcome == "upstream_error"
        return RequestRow(self._requests[route, pool, caller, outcome], route, pool, route in _SERVED, is_failure)

    def _request_finished(self, event: RequestFinished) -> None:
        with self._lock:
            row = self._request_rows[event.route, event.pool, event.caller.label, event.outcome]
            row.requests.inc(1, event.exemplar)
            if event.pool or event.outcome == "ok":  # what is turned away at the door took no time, and says nothing
                duration = row.duration = row.duration or self._request_duration[row.route, row.pool]
                duration.observe(event.duration_ns / NS_PER_SECOND, event.exemplar)
            if row.is_failure or (event.cause in _UNDESERVED and row.is_served):
                self._failed_calls[row.pool,].inc(1, event.exemplar)
            if event.overhead_ns is not None:
                overhead = row.overhead = row.overhead or self._overhead[row.route,]
                overhead.observe(event.overhead_ns / NS_PER_SECOND)

    def _attempt_row(self, pool: str, model: str, status: str) -> AttemptRow:
        return AttemptRow(self._attempts[pool, model, status], self._attempt_duration[pool, model], pool, model)

    def _attempt_finished(self, event: AttemptFinished) -> None:
        names = event.pool, event.model, event.status
        exemplar = self._exemplar and self._exemplar()
        with self._lock:
            if names not in self._attempt_rows and event.status.startswith("2"):
                if self._pools.admit(event.pool):
                    self._start_pool(event.pool)
                self._admit_model(event.model)
                self._start_attempts(self._pools.label(event.pool), self._models.label(event.model))
            row = self._attempt_rows[names]
            row.attempts.inc(1, exemplar)
            row.duration.observe(event.duration_ns / NS_PER_SECOND, exemplar)
            if event.first_token_ns is not None:
                self._first_token[row.pool, row.model].observe(event.first_token_ns / NS_PER_SECOND, exemplar)
            if event.usage is not None:
                self._usage.add(event.pool, event.model, event.caller.label, event.usage)

    def _batch_results_read(self, event: BatchResultsRead) -> None:
        with self._lock:
            for name, usage in event.used:
                self._admit_model(name)
                self._usage.add(_BATCHES, name, event.caller.label, usage)

    def _admit_model(self, model: str) -> None:
        """The upstream has confirmed that there is such a model."""
        if self._models.admit(model):
            self._usage.start(model, self._caller_labels)

    def _upstream_rate_limited(self, event: UpstreamRateLimited) -> None:
        labels = self._pools.label(event.pool), self._rate_limited_by.label(event.dimension)
        exemplar = self._exemplar and self._exemplar()
        with self._lock:
            self._rate_limited[labels].inc(1, exemplar)

    def _spend_cap_reached(self, event: SpendCapReached) -> None:
        with self._lock:
            self._spend_capped[self._pools.label(event.pool),].inc()

    def _anomaly(self, event: Anomaly) -> None:
        with self._lock:
            self._anomalies[self._anomaly_kinds.label(event.kind),].inc()

    def _head_refused(self, event: HeadRefused) -> None:
        with self._lock:
            self._heads_refused[self._head_statuses.label(str(event.status)),].inc()

    def _refused_call(self, event: RefusedCall) -> None:
        labels = self._pools.label(event.pool), self._callers.label(event.caller.label), event.cause
        exemplar = self._exemplar and self._exemplar()
        with self._lock:
            self._refused[labels].inc(1, exemplar)

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        labels = self._pools.label(event.pool), self._retry_reasons.label(event.reason)
        exemplar = self._exemplar and self._exemplar()
        with self._lock:
            self._retries[labels].inc(1, exemplar)
            self._retry_wait[labels].observe(to_seconds(event.wait_ns), exemplar)

    def _admitted_row(self, pool: str, priority: str) -> AdmittedRow:
        return AdmittedRow(self._queue_wait[pool, priority], self._admissions[pool])

    def _admitted(self, event: Admitted) -> None:
        exemplar = self._exemplar and self._exemplar()
        with self._lock:
            row = self._admitted_rows[event.pool, event.caller.priority]
            row.wait.observe(event.waited_ns / NS_PER_SECOND, exemplar)
            row.admissions.add(self._clock.monotonic_ns())

    def _lease_row(self, pool: str) -> LeaseRow:
        requests, input_tokens, output_tokens = (self._charged[pool, dimension] for dimension in DIMENSIONS)
        return LeaseRow(pool, requests, input_tokens, output_tokens)

    def _lease_ended(self, event: LeaseEnded) -> None:
        requests, input_tokens, output_tokens = event.used
        with self._lock:
            row = self._lease_rows[event.pool,]
            if requests:
                row.requests.inc(requests)
            if input_tokens:
                row.input_tokens.inc(input_tokens)
            if output_tokens:
                row.output_tokens.inc(output_tokens)
            if event.outcome != _SETTLED:
                return
            # The number of requests is never an estimate.
            if input_tokens > 0:
                error = row.input_error = row.input_error or self._estimate_error[row.pool, _INPUT]
                error.observe(event.reserved.input_tokens / input_tokens)
            if output_tokens > 0:
                error = row.output_error = row.output_error or self._estimate_error[row.pool, _OUTPUT]
                error.observe(event.reserved.output_tokens / output_tokens)

    def _workflow_finished(self, event: WorkflowFinished) -> None:
        with self._lock:
            self._workflows[self._workflow_outcomes.label(event.outcome),].inc()

    def _fallback_used(self, event: FallbackUsed) -> None:
        with self._lock:
            self._fallbacks[self._fallback_reasons.label(event.reason),].inc()
