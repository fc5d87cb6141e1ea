"""Names, types, labels, units and help of all metrics. They are a public interface, guarded by a golden file.

`(shared)` in the help text means that all replicas export the same value: aggregate with `max by (…)`. All other
metrics count what one replica did: aggregate with `sum`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

__all__ = ["CATALOGUE", "Metric", "MetricType"]

# Each bucket is a series for every pool, class or reason, so there are only as many as panels and alerts need.
_SECONDS: Final = (0.1, 0.5, 1, 2.5, 5, 10, 20, 40, 120, 600)
"""Up to the default deadline of a call, 600 s."""
_WAIT: Final = (0.01, 0.5, 1, 2.5, 5, 10, 20, 60, 120, 300)
"""The first bucket counts admissions without a wait."""
_CALLER_WAIT: Final = (1, 5, 20, 60, 300)
"""Few, because each is a series for every caller and outcome."""
_FIRST_TOKEN: Final = (0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60)
_RETRY_WAIT: Final = (0.5, 1, 2.5, 5, 10, 30, 60)
_OVERHEAD: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_STORE: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
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


def _gauge_seconds(name: str, labels: str, text: str) -> Metric:
    return Metric(f"tidegate_{name}_seconds", MetricType.GAUGE, tuple(labels.split()), text, "seconds")


def _seconds(name: str, labels: str, text: str, buckets: tuple[float, ...] = _SECONDS) -> Metric:
    return Metric(f"tidegate_{name}_seconds", MetricType.HISTOGRAM, tuple(labels.split()), text, "seconds", buckets)


REQUESTS: Final = _counter("requests", "route pool caller outcome", "Calls, by route and outcome.")
FAILED_CALLS: Final = _counter(
    "failed_calls",
    "pool",
    "Failed calls (upstream or store error); excludes client errors and refusals.",
)
REQUEST_DURATION: Final = _seconds(
    "request_duration",
    "route pool",
    "Duration of a call from arrival to end of response; excludes calls refused before their pool is known.",
)
UPSTREAM_ATTEMPTS: Final = _counter(
    "upstream_attempts",
    "pool model status",
    "Requests to the upstream, by HTTP status; without a response: error, deadline or abandoned (by the client).",
)
UPSTREAM_DURATION: Final = _seconds("upstream_duration", "pool model", "Duration of one request to the upstream.")
TIME_TO_FIRST_TOKEN: Final = _seconds(
    "time_to_first_token",
    "pool model",
    "Time from sending a request to the first content of its stream.",
    _FIRST_TOKEN,
)
RATE_LIMITED: Final = _counter("rate_limited", "pool dimension", "429s of the upstream, by exhausted dimension.")
REFUSED: Final = _counter("refused", "pool caller cause", "Calls refused by Tidegate, by cause.")
RETRIES: Final = _counter("retries", "pool reason", "Retried attempts, by reason of the failure.")
RETRY_WAIT: Final = _seconds("retry_wait", "pool reason", "Wait before a retry.", _RETRY_WAIT)
TOKENS: Final = _counter(
    "tokens",
    "pool model caller kind",
    "Tokens used, as reported by responses, by kind; tokens of a batch count when its results are first read.",
)
COST_USD: Final = _counter("cost_usd", "model caller", "Cost of responses in US dollars, at list prices.")
UNPRICED_TOKENS: Final = _counter(
    "unpriced_tokens", "model kind", "Tokens of models without a known price; excluded from cost_usd."
)
SPEND_CAPPED: Final = _counter("spend_capped", "pool", "Upstream responses that report a reached spend cap.")
ANOMALIES: Final = _counter(
    "anomalies",
    "kind",
    "Implausible values from the upstream, clocks or callers; their effect is bounded, and the log names the pool.",
)
HEADS_REFUSED: Final = _counter(
    "heads_refused",
    "status",
    "Requests refused while reading the head: malformed (400), too slow (408) or too long (431).",
)
LIMIT_PER_MINUTE: Final = _gauge(
    "limit_per_minute",
    "pool dimension source",
    "Limit per minute, by source (shared); absent if unknown.",
)
AVAILABLE: Final = _gauge("available", "pool dimension", "Level of the token bucket, in requests or tokens (shared).")
CAPACITY: Final = _gauge(
    "capacity",
    "pool dimension",
    "Capacity of the token bucket, in requests or tokens (shared); absent if unknown.",
)
QUOTA_GRANTED: Final = _counter(
    "quota_granted",
    "pool dimension",
    "Quota granted by the upstream's limit, in requests or tokens; of replicas with a shared store, the leader's.",
)
QUOTA_CHARGED: Final = _counter(
    "quota_charged", "pool dimension", "Quota charged to ended leases, in requests or tokens."
)
CURRENT_RPM: Final = _gauge("current_rpm", "pool", "Requests that this replica admitted in the last 60 seconds.")
ADAPTIVE_FACTOR: Final = _gauge(
    "adaptive_factor", "pool", "Share of the full rate in use: 429s lower it, successes raise it (shared)."
)
POOL_FROZEN: Final = _gauge("pool_frozen", "pool", "1 while the pool is closed after a 429 (shared).")
POOL_PROBING: Final = _gauge(
    "pool_probing", "pool", "1 while single requests probe whether the upstream has recovered (shared)."
)
CIRCUIT_OPEN: Final = _gauge(
    "circuit_open", "pool cause", "1 while the pool's circuit is open and only probes are sent, by cause (shared)."
)
CONCURRENCY_LIMIT: Final = _gauge(
    "concurrency_limit",
    "pool",
    "Limit of concurrent requests (shared); absent unless failures have led to a limit.",
)
IN_FLIGHT: Final = _gauge("in_flight", "pool", "Open leases (shared).")
OLDEST_LEASE: Final = _gauge_seconds(
    "oldest_lease", "pool", "Age of the oldest open lease (shared); absent if there is none."
)
QUEUE_DEPTH: Final = _gauge(
    "queue_depth", "pool class", "Waiting requests, by priority class; of replicas with a shared store, the leader's."
)
QUEUE_TOKENS: Final = _gauge(
    "queue_tokens", "pool class", "Estimated tokens of waiting requests; of replicas with a shared store, the leader's."
)
QUEUE_OLDEST: Final = _gauge_seconds(
    "queue_oldest", "pool class", "Wait so far of the oldest waiting request (shared); absent if none waits."
)
CALLER_WAITING: Final = _gauge(
    "caller_waiting",
    "pool caller limit",
    "Waiting requests, by caller and by what the pool's next one waits for; of replicas with one store, the leader's.",
)
CALLER_WAIT: Final = _seconds(
    "caller_wait",
    "caller end",
    "Wait of a caller's requests that had to wait: until they were admitted, or left (refused, timed out, cancelled).",
    _CALLER_WAIT,
)
SESSIONS_ACTIVE: Final = _gauge(
    "sessions_active",
    "",
    "Sessions of callers with a request to the upstream that ended in the last 5 minutes; at most 10,000.",
)
QUEUE_WAIT: Final = _seconds("queue_wait", "pool class", "Wait for admission, including zero.", _WAIT)
EXCESS_WAIT: Final = _seconds(
    "excess_wait",
    "pool class",
    "Waits of at least 1 s in queue_wait, except of class batch, for a limit of the caller's own, or of a caller that "
    "floods the pool; no objective counts them.",
    _WAIT,
)
ESTIMATE_ERROR: Final = Metric(
    "tidegate_estimate_error_ratio",
    MetricType.HISTOGRAM,
    ("pool", "dimension"),
    "Ratio of reserved to used quota, per settled lease: 1 is a perfect estimate.",
    "ratio",
    _RATIO,
)
OVERHEAD: Final = _seconds(
    "overhead", "route", "Tidegate's own time in a call; excludes waits for quota, upstream and client.", _OVERHEAD
)
EVENT_LOOP_LAG: Final = _seconds("event_loop_lag", "", "Delay of timers in the event loop.", _LAG)
EVENT_LOOP_TASKS: Final = _gauge("event_loop_tasks", "", "Unfinished tasks in the event loop.")
WORKFLOWS: Final = _counter("workflows", "outcome", "Workflow generations, by outcome.")
FALLBACKS: Final = _counter("fallbacks", "reason", "Generations that used the fallback request, by reason.")
LEADER: Final = _gauge("leader", "", "1 if this replica leads those that share a store.")
LEADER_CHANGES: Final = _counter("leader_changes", "", "Times that another replica has taken the lead (shared).")
REPLICAS: Final = _gauge("replicas", "", "Replicas that share the limits, as the leader counts them (shared).")
STORE_UP: Final = _gauge("store_up", "", "1 while the shared store answers this replica in time.")
STORE_LATENCY: Final = _seconds("store_latency", "", "Time that the shared store takes to answer a ping.", _STORE)
LOG_LAG: Final = _gauge_seconds("log_lag", "", "How far the leader is behind the log; 0 on other replicas.")
SNAPSHOT_AGE: Final = _gauge_seconds(
    "snapshot_age", "", "Age of the leader's last report, which gauges marked (shared) show; absent before the first."
)
DEGRADED: Final = _gauge(
    "degraded", "", "1 while this replica decides by its share of the limits, because the shared store is lost."
)
LEDGER_UP: Final = _gauge("ledger_up", "", "1 while usage can be written to the ledger, and keys be read.")
LEDGER_UNWRITTEN: Final = _gauge_seconds("ledger_unwritten", "", "Age of the oldest usage that is only in memory.")
LEDGER_WRITE_FAILURES: Final = _counter("ledger_write_failures", "", "Failed writes of usage; each is repeated.")
LEDGER_LOST: Final = _counter(
    "ledger_lost", "", "Ends of calls and answers that the ledger misses, because too much usage waited to be written."
)
PAUSED: Final = _gauge("paused", "kind", "Callers, keys, teams, sessions and pools that an admin has paused (shared).")
BUDGET_LIMIT: Final = _gauge("budget_limit", "budget unit", "Limit of a budget, in US dollars or tokens (shared).")
BUDGET_SPENT: Final = _gauge(
    "budget_spent", "budget unit", "Spent in the present period, by the subject with the least left (shared)."
)
BUDGET_REMAINING: Final = Metric(
    "tidegate_budget_remaining_ratio",
    MetricType.GAUGE,
    ("budget",),
    "Share of a budget that is neither spent nor reserved, of the subject with the least left (shared).",
    "ratio",
)
BUDGET_USED_UP: Final = _gauge(
    "budget_used_up",
    "budget",
    "1 if a budget is spent, or has refused a call after 80 percent of it was spent (shared); absent for one of each "
    "session.",
)
BUDGET_ENDS: Final = Metric(
    "tidegate_budget_ends_timestamp_seconds",
    MetricType.GAUGE,
    ("budget",),
    "Unix time of the end of a budget's present period (shared); absent if it never ends.",
    "seconds",
)
BUDGET_THRESHOLDS: Final = _counter(
    "budget_thresholds", "budget percent", "Times that a budget was spent to 80 or 100 percent, or refused a call."
)
RELOAD_REFUSED: Final = _gauge("reload_refused", "", "1 if the latest reload of the configuration was refused.")
STATE_UNREADABLE: Final = _gauge("state_unreadable", "", "1 if the saved state could not be read at the start.")
KEY_ENDS: Final = _gauge_seconds(
    "key_ends_in", "", "Time until the next key of the ledger expires; absent if none does."
)
BUILD_INFO: Final = _gauge(
    "build_info", "version revision upstream", "Always 1; labels give version, revision and kind of upstream."
)

CATALOGUE: Final = tuple(value for value in dict(globals()).values() if isinstance(value, Metric))
"""All metrics, in the order of their definitions."""
