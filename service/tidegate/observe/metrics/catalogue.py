"""Every metric that Tidegate exports, as data: names, types, labels, units and help are a public interface.

A golden file guards this table. `shared` in the help text says that all replicas show the same value: aggregate with
`max by (…)`; the rest is what one replica did: aggregate with `sum`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["CATALOGUE", "Metric", "MetricType"]

# Each bucket is a series for every pool, class or reason: there are as many as somebody looks at.
_SECONDS: Final = (0.1, 0.5, 1, 2.5, 5, 10, 20, 40, 120, 600)
"""Answers take up to ten minutes, the default deadline."""
_WAIT: Final = (0.01, 0.5, 1, 2.5, 5, 10, 20, 60, 120, 300)
"""The first one stands for "at once"."""
_FIRST_TOKEN: Final = (0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60)
_RETRY_WAIT: Final = (0.5, 1, 2.5, 5, 10, 30, 60)
_OVERHEAD: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_LAG: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
_RATIO: Final = (0.25, 0.5, 0.8, 1.0, 1.25, 2, 4, 10)


class MetricType(StrEnum):
    """Prometheus metric types in use."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `name` is complete, unit and `_total` included; `buckets` are upper bounds, for histograms."""

    name: str
    type: MetricType
    labels: tuple[str, ...]
    help: str
    unit: str = ""
    buckets: tuple[float, ...] = ()


def _counter(name: str, labels: str, text: str) -> Metric:
    return Metric(f"tidegate_{name}_total", MetricType.COUNTER, tuple(labels.split()), text)


def _gauge(name: str, labels: str, text: str) -> Metric:
    return Metric(f"tidegate_{name}", MetricType.GAUGE, tuple(labels.split()), text)


def _seconds(name: str, labels: str, text: str, buckets: tuple[float, ...] = _SECONDS) -> Metric:
    return Metric(f"tidegate_{name}_seconds", MetricType.HISTOGRAM, tuple(labels.split()), text, "seconds", buckets)


REQUESTS: Final = _counter("requests", "route pool caller outcome", "Calls of our routes, by outcome.")
FAILED_CALLS: Final = _counter(
    "failed_calls",
    "pool",
    "Calls that nobody answered through no fault of their caller: the upstream failed, or it or the store was out.",
)
REQUEST_DURATION: Final = _seconds(
    "request_duration",
    "route pool",
    "From a call's arrival to the end of its answer, unless it failed before its pool was known.",
)
UPSTREAM_ATTEMPTS: Final = _counter(
    "upstream_attempts",
    "pool model status",
    "Attempts at the upstream, by HTTP status; without an answer error, deadline or abandoned by the client.",
)
UPSTREAM_DURATION: Final = _seconds("upstream_duration", "pool model", "Duration of one attempt at the upstream.")
TIME_TO_FIRST_TOKEN: Final = _seconds(
    "time_to_first_token", "pool model", "From sending an attempt to the first content of its stream.", _FIRST_TOKEN
)
RATE_LIMITED: Final = _counter(
    "rate_limited", "pool dimension", "429s of the upstream, by the dimension they show as empty."
)
REFUSED: Final = _counter("refused", "pool caller cause", "Calls that Tidegate refused itself, by cause.")
RETRIES: Final = _counter("retries", "pool reason", "Attempts that were repeated, by the reason of the failure.")
RETRY_WAIT: Final = _seconds("retry_wait", "pool reason", "Wait before an attempt was repeated.", _RETRY_WAIT)
TOKENS: Final = _counter(
    "tokens",
    "pool model caller kind",
    "Tokens that answers reported, by kind; those of batches as their results are first read.",
)
COST_USD: Final = _counter("cost_usd", "model caller", "US dollars that answers cost, by the list prices.")
UNPRICED_TOKENS: Final = _counter(
    "unpriced_tokens", "model kind", "Tokens of models that no price is known for; they are in no cost."
)
SPEND_CAPPED: Final = _counter("spend_capped", "pool", "Answers of the upstream that a spend cap is reached.")
ANOMALIES: Final = _counter(
    "anomalies",
    "kind",
    "What upstream, clocks or callers told that cannot be; the effect is bounded, the log has the pool.",
)
HEADS_REFUSED: Final = _counter(
    "heads_refused",
    "status",
    "What clients sent that was refused before it was a call: no HTTP (400), a head too slow (408) or too long (431).",
)
LIMIT_PER_MINUTE: Final = _gauge(
    "limit_per_minute",
    "pool dimension source",
    "Limit a minute, by where it comes from (shared); absent where unknown.",
)
AVAILABLE: Final = _gauge("available", "pool dimension", "Level of the bucket, in requests or tokens (shared).")
CAPACITY: Final = _gauge(
    "capacity",
    "pool dimension",
    "What the bucket holds when full, in requests or tokens (shared); absent where unknown.",
)
QUOTA_GRANTED: Final = _counter(
    "quota_granted",
    "pool dimension",
    "What the upstream's limit granted since the start, in requests or tokens (shared).",
)
QUOTA_CHARGED: Final = _counter(
    "quota_charged", "pool dimension", "What ended leases were charged, in requests or tokens."
)
CURRENT_RPM: Final = _gauge("current_rpm", "pool", "Requests that this replica let go upstream in the last 60 seconds.")
ADAPTIVE_FACTOR: Final = _gauge(
    "adaptive_factor", "pool", "Share of the full rate in use after what 429s and successes taught (shared)."
)
POOL_FROZEN: Final = _gauge("pool_frozen", "pool", "1 while a 429 keeps the pool closed (shared).")
CIRCUIT_OPEN: Final = _gauge(
    "circuit_open", "pool cause", "1 while the pool sends nothing but probes, by what opened its circuit (shared)."
)
POOL_PROBING: Final = _gauge(
    "pool_probing", "pool", "1 while single requests find out whether the upstream answers again (shared)."
)
CONCURRENCY_LIMIT: Final = _gauge(
    "concurrency_limit",
    "pool",
    "Requests that may be unanswered at a time (shared); absent unless failures have led to a limit.",
)
IN_FLIGHT: Final = _gauge("in_flight", "pool", "Leases that have not ended (shared).")
OLDEST_LEASE: Final = Metric(
    "tidegate_oldest_lease_seconds",
    MetricType.GAUGE,
    ("pool",),
    "Age of the oldest lease that has not ended (shared); absent where there is none.",
    "seconds",
)
QUEUE_DEPTH: Final = _gauge("queue_depth", "pool class", "Requests that wait, by priority class.")
QUEUE_TOKENS: Final = _gauge("queue_tokens", "pool class", "Tokens that waiting requests will probably cost.")
QUEUE_OLDEST: Final = Metric(
    "tidegate_queue_oldest_seconds",
    MetricType.GAUGE,
    ("pool", "class"),
    "How long the oldest of a class has been waiting (shared); absent where nobody waits.",
    "seconds",
)
QUEUE_WAIT: Final = _seconds("queue_wait", "pool class", "Wait for admission, zero included.", _WAIT)
ESTIMATE_ERROR: Final = Metric(
    "tidegate_estimate_error_ratio",
    MetricType.HISTOGRAM,
    ("pool", "dimension"),
    "Reserved over used, per settled lease: 1 is a perfect estimate.",
    "ratio",
    _RATIO,
)
OVERHEAD: Final = _seconds(
    "overhead", "route", "Tidegate's own time in a call: never waiting for quota, upstream or client.", _OVERHEAD
)
EVENT_LOOP_LAG: Final = _seconds(
    "event_loop_lag", "", "How much later than due the event loop runs what waits for it.", _LAG
)
EVENT_LOOP_TASKS: Final = _gauge("event_loop_tasks", "", "Tasks of the event loop that have not ended.")
WORKFLOWS: Final = _counter("workflows", "outcome", "Workflow generations, by outcome.")
FALLBACKS: Final = _counter("fallbacks", "reason", "Generations that went on with the simpler request, by reason.")
BUILD_INFO: Final = _gauge(
    "build_info", "version revision upstream", "1; its labels say what runs, and against which upstream."
)

CATALOGUE: Final = (
    REQUESTS,
    FAILED_CALLS,
    REQUEST_DURATION,
    UPSTREAM_ATTEMPTS,
    UPSTREAM_DURATION,
    TIME_TO_FIRST_TOKEN,
    RATE_LIMITED,
    REFUSED,
    RETRIES,
    RETRY_WAIT,
    TOKENS,
    COST_USD,
    UNPRICED_TOKENS,
    SPEND_CAPPED,
    ANOMALIES,
    HEADS_REFUSED,
    LIMIT_PER_MINUTE,
    AVAILABLE,
    CAPACITY,
    QUOTA_GRANTED,
    QUOTA_CHARGED,
    CURRENT_RPM,
    ADAPTIVE_FACTOR,
    POOL_FROZEN,
    POOL_PROBING,
    CIRCUIT_OPEN,
    CONCURRENCY_LIMIT,
    IN_FLIGHT,
    OLDEST_LEASE,
    QUEUE_DEPTH,
    QUEUE_TOKENS,
    QUEUE_OLDEST,
    QUEUE_WAIT,
    ESTIMATE_ERROR,
    OVERHEAD,
    EVENT_LOOP_LAG,
    EVENT_LOOP_TASKS,
    WORKFLOWS,
    FALLBACKS,
    BUILD_INFO,
)
"""All of them. A metric that is not in this table does not exist."""
