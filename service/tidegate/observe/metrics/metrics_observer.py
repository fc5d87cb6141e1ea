"""Counts events in the metrics of the catalogue."""

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
from tidegate.core.domain.caller import DEFAULT_CALLER, Caller, Priority
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
    Withdrawn,
    WorkflowFinished,
)
from tidegate.core.domain.nanoseconds import NS_PER_SECOND, to_seconds
from tidegate.core.ports.clock import Clock
from tidegate.core.pricing.price_list import PriceList
from tidegate.observe.metrics.caller_labels import CallerLabels
from tidegate.observe.metrics.event_metrics import EventMetrics
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
    SERVED,
    WORKFLOW_OUTCOMES,
    LabelSet,
    Rows,
    status_group,
)
from tidegate.observe.metrics.metric_rows import AdmittedRow, AttemptRow, LeaseRow, RequestRow
from tidegate.observe.metrics.usage_metrics import UsageMetrics
from tidegate.observe.recent.flooders import Flooders
from tidegate.observe.recent.sliding_count import SlidingCount

__all__ = ["MetricsObserver"]

DEFAULT_MAX_CALLERS: Final = 50
"""Callers with a label of their own. Each has about 130 series with ten pools."""

_MAX_LEARNED: Final = 50
"""Pools, and models, that may get their own label although they are not configured, once the upstream answers 2xx."""

_SERVICE_FAULTS: Final = frozenset(
    {Cause.STORE_UNAVAILABLE, Cause.LEDGER_UNAVAILABLE, Cause.UPSTREAM_CREDENTIALS, Cause.UPSTREAM_OUTAGE}
)
"""Refusals that count as failed calls. All others are caused by the caller or by a lack of quota."""

_LACK_OF_QUOTA: Final = frozenset({Cause.DEADLINE, Cause.QUEUE_FULL, Cause.CALLER_LIMIT})
"""Refusals that show that a caller asks for more than there is."""

_ENDPOINTS: Final = tuple(pool for pool in ENDPOINT_POOLS if pool != "skills")
"""Endpoint pools with their own label from the start. Each costs 100 series, and few teams use skills."""
_BATCH_POOL: Final = endpoint_pool("POST", "/v1/messages/batches")
"""Usage of batches counts in this pool: it does not use the limits of the Messages pools."""
_SETTLED: Final = Outcome.SETTLED  # every call reads these three: a global is faster than an attribute
_INPUT: Final = Dimension.INPUT_TOKENS
_OUTPUT: Final = Dimension.OUTPUT_TOKENS


def _pool_group(pool: str) -> str | None:
    """Groups unconfigured, uncommon endpoints under one label: clients can invent any number of routes."""
    return OTHER_ENDPOINTS if is_endpoint_pool(pool) else None


class MetricsObserver:
    """Counts events. Thread-safe.

    Label values are bounded. An unknown pool or model counts as `other` until its first 2xx. Callers have labels by the
    rule of `CallerLabels`. Any other value outside its set counts as `other`.

    Counters that alerts watch exist at 0 for every pool and model with a label, including `other`, because Prometheus
    does not count the first value of a series as an increase. The same holds for the cost of every labelled caller and
    model, and of every priced model for the caller `default`.

    Args:
        registry: where the metrics are registered; one observer per registry.
        clock: time of admissions, for `current_rpm`.
        models: configured models; their pools are known as well.
        pools: further configured pools.
        callers: labels of the configured callers.
        max_callers: the number of callers with a label of their own.
        classes: priority classes of the configured callers.
        prices: price list; default: the bundled one.
        exemplar: returns the ids of the current span; None disables exemplars.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        clock: Clock,
        *,
        models: Iterable[str] = (),
        pools: Iterable[str] = (),
        callers: Iterable[str] = (),
        max_callers: int = DEFAULT_MAX_CALLERS,
        classes: Iterable[Priority] = (),
        prices: PriceList | None = None,
        exemplar: Callable[[], Mapping[str, str] | None] | None = None,
    ) -> None:
        self._classes = frozenset((DEFAULT_CALLER.priority,))
        self._clock = clock
        self._exemplar = exemplar
        self._prices = prices or PriceList.bundled()
        self._pools = LabelSet((), _MAX_LEARNED, group_of=_pool_group)
        self._models = LabelSet((), _MAX_LEARNED)
        self._callers = CallerLabels(max_callers)
        self._routes = LabelSet(ROUTES)
        self._request_outcomes = LabelSet(REQUEST_OUTCOMES)
        self._request_rows = Rows(self._request_row, self._routes, self._pools, self._callers, self._request_outcomes)
        statuses = LabelSet(ATTEMPT_STATUSES, group_of=status_group)
        self._attempt_rows = Rows(self._attempt_row, self._pools, self._models, statuses)
        self._lease_rows = Rows(self._lease_row, self._pools)
        self._admitted_rows = Rows(self._admitted_row, self._pools, LabelSet(Priority))
        self._rate_limited_by = LabelSet(RATE_LIMITED_BY)
        self._retry_reasons = LabelSet(RETRY_REASONS)
        self._anomaly_kinds = LabelSet(AnomalyKind)
        self._head_statuses = LabelSet(HEAD_STATUSES)
        self._workflow_outcomes = LabelSet(WORKFLOW_OUTCOMES)
        self._fallback_reasons = LabelSet(FALLBACK_REASONS)

        self._metrics = EventMetrics(registry)
        self._lock = self._metrics.lock
        labels = (self._pools, self._models, self._callers)
        self._usage = UsageMetrics(clock, self._prices, self._metrics, labels=labels)
        self._admissions: defaultdict[str, SlidingCount] = defaultdict(SlidingCount)
        self._flooders = Flooders()

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
            Withdrawn: self._withdrawn,
            LeaseEnded: self._lease_ended,
            WorkflowFinished: self._workflow_finished,
            FallbackUsed: self._fallback_used,
        }

        self._create_series()
        self.know(models=models, pools=(DEFAULT_POOL, *_ENDPOINTS, *pools), callers=callers, classes=classes)

    def know(
        self, *, models: Iterable[str], pools: Iterable[str], callers: Iterable[str], classes: Iterable[Priority]
    ) -> None:
        """Gives configured values their own label, and creates the series that alerts watch. Forgets none.

        Callers have their own label at once only if there is room for all of them.
        """
        models = tuple(models)
        pools = dict.fromkeys((*pools, *map(model_pool, models)))
        with self._lock:
            self._classes |= frozenset(classes)
            for labels, values in ((self._pools, pools), (self._models, models), (self._callers, callers)):
                labels.know(values)
            for pool in (*self._pools.own, OTHER):
                self._metrics.create_pool_series(pool, self._classes)
            for model in models:
                self._metrics.create_attempt_series(model_pool(model), model)
            for model in self._models.own:
                self._usage.create_cost_series(model, self._callers.in_use)

    def know_callers(self, callers: Iterable[Caller]) -> None:
        """Lets callers have their own label, as `know` does."""
        callers = tuple(callers)
        self.know(
            models=(), pools=(), callers=[each.label for each in callers], classes=[each.priority for each in callers]
        )

    @property
    def handlers(self) -> Iterable[tuple[type[Event], Callable[[Any], None]]]:
        """Event types and their handlers, for `Observers`."""
        return self._handlers.items()

    def served(self, pools: Iterable[str]) -> None:
        """Gives pools that the upstream has answered with 2xx at any replica their own label."""
        for pool in pools:
            if not self._pools.has_own_label(pool):
                with self._lock:
                    if self._pools.add(pool):
                        self._metrics.create_pool_series(pool, self._classes)

    def model_label(self, model: str) -> str:
        """The bounded name of a model."""
        return self._models.label(model)

    def caller_label(self, name: str) -> str:
        """The label of a caller by its name."""
        return self._callers.label_of_name(name)

    def has_own_label(self, pool: str) -> bool:
        """Whether a pool has its own label. Only such pools have gauges."""
        return self._pools.has_own_label(pool)

    def requests_last_minute(self) -> dict[str, int]:
        """Requests admitted in the last 60 seconds, by pool label."""
        now_ns = self._clock.monotonic_ns()
        with self._lock:
            return {pool: admissions.total(now_ns) for pool, admissions in self._admissions.items()}

    def _create_series(self) -> None:
        for pool in (*_ENDPOINTS, OTHER):
            self._metrics.create_attempt_series(pool, OTHER if pool == OTHER else NONE)
        for model in self._prices.models:
            self._usage.create_cost_series(model, (DEFAULT_CALLER.label,))
        self._metrics.create_poolless_series()

    def _request_row(self, route: str, pool: str, caller: str, outcome: str) -> RequestRow:
        is_failure = route in SERVED and outcome == "upstream_error"
        return RequestRow(
            self._metrics.requests[route, pool, caller, outcome], route, pool, route in SERVED, is_failure
        )

    def _count_use(self, caller: Caller) -> None:
        """Lets a caller earn a label of its own. Must precede all other counts of the event."""
        if self._callers.use(caller.label):
            for model in self._models.own:
                self._usage.create_cost_series(model, (caller.label,))

    def _request_finished(self, event: RequestFinished) -> None:
        with self._lock:
            self._count_use(event.caller)
            row = self._request_rows[event.route, event.pool, event.caller.label, event.outcome]
            row.requests.inc(1, event.exemplar)
            if event.pool or event.outcome == "ok":  # early refusals take no time and would distort the durations
                duration = row.duration = row.duration or self._metrics.request_duration[row.route, row.pool]
                duration.observe(event.duration_ns / NS_PER_SECOND, event.exemplar)
            if row.is_failure or (event.cause in _SERVICE_FAULTS and row.is_served):
                self._metrics.failed_calls[row.pool,].inc(1, event.exemplar)
            if event.overhead_ns is not None:
                overhead = row.overhead = row.overhead or self._metrics.overhead[row.route,]
                overhead.observe(event.overhead_ns / NS_PER_SECOND)

    def _attempt_row(self, pool: str, model: str, status: str) -> AttemptRow:
        return AttemptRow(
            self._metrics.attempts[pool, model, status], self._metrics.attempt_duration[pool, model], pool, model
        )

    def _attempt_finished(self, event: AttemptFinished) -> None:
        key = event.pool, event.model, event.status
        exemplar = self._exemplar and self._exemplar()
        with self._lock:
            if key not in self._attempt_rows and event.status.startswith("2"):
                if self._pools.add(event.pool):
                    self._metrics.create_pool_series(event.pool, self._classes)
                self._add_model(event.model)
                self._metrics.create_attempt_series(self._pools.label(event.pool), self._models.label(event.model))
            row = self._attempt_rows[key]
            row.attempts.inc(1, exemplar)
            row.duration.observe(event.duration_ns / NS_PER_SECOND, exemplar)
            if event.first_token_ns is not None:
                self._metrics.first_token[row.pool, row.model].observe(event.first_token_ns / NS_PER_SECOND, exemplar)
            if event.usage is not None:
                self._usage.add(event.pool, event.model, event.caller.label, event.usage, event.cost_pico_usd)

    def _batch_results_read(self, event: BatchResultsRead) -> None:
        with self._lock:
            for model, usage in event.used:
                self._add_model(model)
                self._usage.add_result(_BATCH_POOL, model, event.caller.label, usage)

    def _add_model(self, model: str) -> None:
        if self._models.add(model):
            self._usage.create_cost_series(model, self._callers.in_use)

    def _upstream_rate_limited(self, event: UpstreamRateLimited) -> None:
        labels = self._pools.label(event.pool), self._rate_limited_by.label(event.dimension)
        exemplar = self._exemplar and self._exemplar()
        with self._lock:
            self._metrics.rate_limited[labels].inc(1, exemplar)

    def _spend_cap_reached(self, event: SpendCapReached) -> None:
        with self._lock:
            self._metrics.spend_capped[self._pools.label(event.pool),].inc()

    def _anomaly(self, event: Anomaly) -> None:
        with self._lock:
            self._metrics.anomalies[self._anomaly_kinds.label(event.kind),].inc()

    def _head_refused(self, event: HeadRefused) -> None:
        with self._lock:
            self._metrics.heads_refused[self._head_statuses.label(str(event.status)),].inc()

    def _refused_call(self, event: RefusedCall) -> None:
        pool = self._pools.label(event.pool)
        exemplar = self._exemplar and self._exemplar()
        with self._lock:
            self._count_use(event.caller)
            self._metrics.refused[pool, self._callers.label(event.caller.label), event.cause].inc(1, exemplar)
            if event.cause in _LACK_OF_QUOTA:
                caller = self._callers.known(event.caller.label)
                self._flooders.observe_refusal(pool, caller, self._clock.monotonic_ns())

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        labels = self._pools.label(event.pool), self._retry_reasons.label(event.reason)
        exemplar = self._exemplar and self._exemplar()
        with self._lock:
            self._metrics.retries[labels].inc(1, exemplar)
            self._metrics.retry_wait[labels].observe(to_seconds(event.wait_ns), exemplar)

    def _admitted_row(self, pool: str, priority: str) -> AdmittedRow:
        return AdmittedRow(pool, priority, self._metrics.queue_wait[pool, priority], self._admissions[pool])

    def _admitted(self, event: Admitted) -> None:
        exemplar = self._exemplar and self._exemplar()
        with self._lock:
            self._count_use(event.caller)
            row = self._admitted_rows[event.pool, event.caller.priority]
            row.wait.observe(event.waited_ns / NS_PER_SECOND, exemplar)
            now_ns = self._clock.monotonic_ns()
            row.admissions.add(now_ns)
            caller = self._callers.known(event.caller.label)
            self._flooders.observe_admission(row.pool, caller, now_ns)
            is_long = event.waited_ns >= NS_PER_SECOND and row.priority != Priority.BATCH
            if is_long and (event.is_own_limit or self._flooders.floods(row.pool, caller, now_ns)):
                self._metrics.excess_wait[row.pool, row.priority].observe(event.waited_ns / NS_PER_SECOND)
            if event.waited_ns:
                self._waited(event.caller, "admitted", event.waited_ns)

    def _withdrawn(self, event: Withdrawn) -> None:
        with self._lock:
            self._waited(event.caller, "left", event.waited_ns)

    def _waited(self, caller: Caller, outcome: str, waited_ns: int) -> None:
        self._metrics.caller_wait[self._callers.label(caller.label), outcome].observe(waited_ns / NS_PER_SECOND)

    def _lease_row(self, pool: str) -> LeaseRow:
        requests, input_tokens, output_tokens = (self._metrics.charged[pool, dimension] for dimension in DIMENSIONS)
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
            # Requests have no estimate error: a lease is always one request.
            if input_tokens > 0:
                error = row.input_error = row.input_error or self._metrics.estimate_error[row.pool, _INPUT]
                error.observe(event.reserved.input_tokens / input_tokens)
            if output_tokens > 0:
                error = row.output_error = row.output_error or self._metrics.estimate_error[row.pool, _OUTPUT]
                error.observe(event.reserved.output_tokens / output_tokens)

    def _workflow_finished(self, event: WorkflowFinished) -> None:
        with self._lock:
            self._metrics.workflows[self._workflow_outcomes.label(event.outcome),].inc()

    def _fallback_used(self, event: FallbackUsed) -> None:
        with self._lock:
            self._metrics.fallbacks[self._fallback_reasons.label(event.reason),].inc()
