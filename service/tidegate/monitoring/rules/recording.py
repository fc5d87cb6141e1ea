"""Recording rules: expressions shared by alerts and dashboards, and the objectives over all burn windows."""

from collections.abc import Iterator
from typing import Final

from tidegate.monitoring.replica_sums import lowest
from tidegate.monitoring.rules.rule import Group, Recording, bucket, duration
from tidegate.observe.metrics import catalogue, thresholds
from tidegate.observe.metrics.labels import SERVED_ROUTES

__all__ = [
    "BAD_BY_POOL",
    "OBJECTIVES",
    "QUEUE_DEPTH",
    "QUEUE_WAIT_P95",
    "QUOTA_USED",
    "RECORDINGS",
    "SPEND_PER_HOUR",
    "bad_share",
]

_FAILED: Final = f"%(f)s({catalogue.FAILED_CALLS.name}[%(window)s])"
_ANSWERED: Final = f'%(f)s({catalogue.REQUESTS.name}{{outcome="ok",route=~"{SERVED_ROUTES}"}}[%(window)s])'
_NOT_BATCH: Final = 'class!="batch"'
_WITHIN: Final = f'le="{bucket(catalogue.QUEUE_WAIT, thresholds.LATENCY_OBJECTIVE_SECONDS)}"'

_EXCESS: Final = catalogue.EXCESS_WAIT.name


def _without(series: str, excess: str) -> str:
    """The series without waits of callers that flood a pool. Replicas of an older version export none."""
    return f"({series} - {excess} or {series})"


def _admissions(suffix: str, within: str = "") -> str:
    conditions = ",".join(filter(None, (_NOT_BATCH, within)))
    over = "sum by (job) (%%(f)s(%s[%%(window)s]))"
    excess = f"{_EXCESS}_{suffix}" + (f"{{{within}}}" if within else "")
    return _without(over % f"{catalogue.QUEUE_WAIT.name}_{suffix}{{{conditions}}}", over % excess)


_ADMITTED: Final = _admissions("count")
_ADMITTED_SOON: Final = _admissions("bucket", _WITHIN)


def _beyond(name: str) -> str:
    """Waits beyond the objective, by pool and class."""
    whole, within = f"{name}_count{{{_NOT_BATCH}}}[%(window)s]", f"{name}_bucket{{{_NOT_BATCH},{_WITHIN}}}[%(window)s]"
    return f"(increase({whole}) - ignoring (le) increase({within}))"


OBJECTIVES: Final = {
    "availability": (
        f"sum by (job) ({_FAILED})",
        f"sum by (job) (\n  {_ANSWERED}\n  or {_FAILED}\n)",
    ),
    "latency": (f"(\n  {_ADMITTED}\n  - {_ADMITTED_SOON}\n)", _ADMITTED),
}
"""Bad calls and all calls of each objective. `f` is `rate` or `increase` over `window`."""
BAD_BY_POOL: Final = {
    "availability": f"sum by (job, pool) (increase({catalogue.FAILED_CALLS.name}[%(window)s]))",
    "latency": f"sum by (job, pool) {_without(_beyond(catalogue.QUEUE_WAIT.name), _beyond(_EXCESS))}",
}
"""Bad calls of each pool over `window`."""

QUOTA_USED: Final = "tidegate:quota_used:ratio_rate5m"
QUEUE_DEPTH: Final = "tidegate:queue_depth:sum"
QUEUE_WAIT_P95: Final = "tidegate:queue_wait_seconds:p95_5m"
SPEND_PER_HOUR: Final = "tidegate:cost_usd:increase1h"

_BY: Final = "job, pool, dimension"
_GRANTED: Final = lowest(
    _BY,
    f"sum by ({_BY}) (rate({catalogue.QUOTA_GRANTED.name}[5m]))",
    # Replicas without a shared store count the same limit of the upstream once each.
    f'max by ({_BY}) ({catalogue.LIMIT_PER_MINUTE.name}{{source="upstream"}}) / 60',
)


def _wait_buckets(name: str) -> str:
    window = duration(thresholds.QUEUE_WAIT_WINDOW_SECONDS)
    return f"sum by (job, pool, class, le) (rate({name}_bucket[{window}]))"


_TARGETS: Final = {"availability": thresholds.AVAILABILITY_TARGET, "latency": thresholds.LATENCY_TARGET}
_WINDOWS: Final = sorted(
    {seconds for burn in thresholds.BURN_WINDOWS for seconds in (burn.long_seconds, burn.short_seconds)}
)


def bad_share(objective: str, window_seconds: int) -> str:
    """Name of the recorded share of bad calls. The objective is `availability` or `latency`."""
    return f"tidegate:{objective}_bad:ratio_rate{duration(window_seconds)}"


def _objective(name: str) -> Iterator[Recording]:
    """The share of bad calls over each burn window, and the remaining 30-day budget."""
    bad, calls = OBJECTIVES[name]
    for seconds in _WINDOWS:
        over = {"f": "rate", "window": duration(seconds)}
        yield Recording(bad_share(name, seconds), f"{bad % over}\n/\n{calls % over}")
    # Sums of recorded rates, because a rate over 30 days would read all raw samples at each evaluation.
    names = {kind: f"tidegate:{name}_{kind}:rate5m" for kind in ("bad", "calls")}
    yield Recording(names["bad"], bad % {"f": "rate", "window": "5m"})
    yield Recording(names["calls"], calls % {"f": "rate", "window": "5m"})
    month = duration(thresholds.SLO_WINDOW_SECONDS)
    yield Recording(
        f"tidegate:{name}_budget:remaining{month}",
        f"1 - sum_over_time({names['bad']}[{month}]) / sum_over_time({names['calls']}[{month}])"
        f" / {1 - _TARGETS[name]:.4g}",
    )


RECORDINGS: Final = (
    Group(
        "tidegate-recording",
        (
            Recording(
                QUOTA_USED,
                f"sum by ({_BY}) (rate({catalogue.QUOTA_CHARGED.name}[5m]))\n/\n{_GRANTED}",
            ),
            Recording(QUEUE_DEPTH, f"sum by (job, pool, class) ({catalogue.QUEUE_DEPTH.name})"),
            Recording(
                QUEUE_WAIT_P95,
                "histogram_quantile(\n  0.95,\n  "
                + _without(*(_wait_buckets(name) for name in (catalogue.QUEUE_WAIT.name, _EXCESS)))
                + "\n)",
            ),
            Recording(
                SPEND_PER_HOUR,
                f"sum by (job) (increase({catalogue.COST_USD.name}[{duration(thresholds.SPEND_WINDOW_SECONDS)}]))",
            ),
        ),
    ),
    *(Group(f"tidegate-{name}", tuple(_objective(name))) for name in OBJECTIVES),
)
"""All recording rules. A suffix such as `ratio_rate5m` names the default window."""
