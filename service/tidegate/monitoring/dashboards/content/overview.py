"""Dashboard "Overview": whether a problem is caused by Tidegate, by Claude or by one caller."""

from typing import Final

from tidegate.monitoring.dashboards import levels, units
from tidegate.monitoring.dashboards.board import Board, Row
from tidegate.monitoring.dashboards.content.callers import (
    BUSIEST_CALLER,
    BUSIEST_CALLERS,
    CALLER_COLUMNS,
    COST_OF_CALLERS,
)
from tidegate.monitoring.dashboards.content.replicas import REPLICAS_ROW
from tidegate.monitoring.dashboards.links import CALLERS, LIMITER, MODELS, OVERVIEW, SLO
from tidegate.monitoring.dashboards.panel_types import stat, states, timeseries
from tidegate.monitoring.dashboards.queries import (
    Query,
    availability,
    increase,
    nonzero_per_minute,
    quantile,
    rate,
    ratio,
    select,
    shared,
    total,
)
from tidegate.monitoring.dashboards.tables import Column, table
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["OVERVIEW_BOARD"]

_STATES: Final = {0: ("fine", units.GOOD), 1: ("degraded", units.WARNING), 2: ("bad", units.CRITICAL)}
_UP: Final = 'up{job=~"$job",instance=~"$instance"}'
_FIRING: Final = (
    'label_replace(label_join(ALERTS{job=~"$job",alertname=~"Tidegate.+",alertstate="firing"},'
    ' "about", " ", "class", "dimension", "cause", "model", "route", "window", "instance"),'
    ' "about", "", "about", " *")'
)
"""`about` joins the labels that distinguish alerts of one name, besides their pool."""
_CALLS: Final = rate(catalogue.REQUESTS)
_ATTEMPTS: Final = rate(catalogue.UPSTREAM_ATTEMPTS)
_OTHER_FAILURES: Final = "=~50.|5xx|error"
"""Failures of Claude except 529, which has its own row."""
_NOT_BATCH: Final = "!=batch"

_LIMITED_SHARE: Final = ratio(rate(catalogue.UPSTREAM_ATTEMPTS, status="429"), _ATTEMPTS)
_OVERLOADED_SHARE: Final = ratio(rate(catalogue.UPSTREAM_ATTEMPTS, status="529"), _ATTEMPTS)
_FAILED_SHARE: Final = ratio(rate(catalogue.UPSTREAM_ATTEMPTS, status=_OTHER_FAILURES), _ATTEMPTS)
_REJECTED_SHARE: Final = ratio(rate(catalogue.UPSTREAM_ATTEMPTS, status="=~401|403"), _ATTEMPTS)
_OWN_MODELS: Final = "!~none|other"
"""Models that have answered or are configured, other than names that clients may have invented."""
_NOT_FOUND_SHARE: Final = ratio(
    rate(catalogue.UPSTREAM_ATTEMPTS, by="model", status="404", model=_OWN_MODELS),
    rate(catalogue.UPSTREAM_ATTEMPTS, by="model", model=_OWN_MODELS),
)
_HANGING_SHARE: Final = ratio(rate(catalogue.UPSTREAM_ATTEMPTS, status="deadline"), _ATTEMPTS)
_REFUSED_SHARE: Final = ratio(rate(catalogue.REFUSED), _CALLS)
_WAIT_P95: Final = quantile(0.95, catalogue.QUEUE_WAIT, class_=_NOT_BATCH)


def _state(value: str, degraded: float, bad: float) -> str:
    return f"({value} >bool {degraded:g}) + ({value} >bool {bad:g})"


_HEALTH: Final = (
    Query(
        f"max(2 * (1 - {_UP})"
        f" or ({quantile(0.99, catalogue.OVERHEAD)} >bool {thresholds.OVERHEAD_P99_SECONDS:g})"
        f" or ({quantile(0.99, catalogue.EVENT_LOOP_LAG)} >bool {thresholds.LOOP_LAG_P99_SECONDS:g}))",
        "Us: process",
    ),
    Query(
        _state(_WAIT_P95, thresholds.QUEUE_WAIT_P95_WARNING_SECONDS, thresholds.QUEUE_WAIT_P95_CRITICAL_SECONDS),
        "Us: queue",
    ),
    Query(f"{_REFUSED_SHARE} >bool {thresholds.REFUSED_SHARE:g}", "Us: refusals"),
    Query(
        _state(_LIMITED_SHARE, thresholds.RATE_LIMITED_SHARE_WARNING, thresholds.RATE_LIMITED_SHARE_CRITICAL),
        "Claude: 429",
    ),
    Query(
        _state(_OVERLOADED_SHARE, thresholds.OVERLOADED_SHARE_WARNING, thresholds.OVERLOADED_SHARE_CRITICAL),
        "Claude: 529",
    ),
    Query(
        _state(_FAILED_SHARE, thresholds.UPSTREAM_ERROR_SHARE_WARNING, thresholds.UPSTREAM_ERROR_SHARE_CRITICAL),
        "Claude: other errors",
    ),
    Query(
        _state(_HANGING_SHARE, thresholds.HANGING_SHARE_WARNING, thresholds.HANGING_SHARE_CRITICAL),
        "Claude: no response",
    ),
    Query(
        f"clamp_max(max({select(catalogue.RELOAD_REFUSED)}) + max({select(catalogue.STATE_UNREADABLE)})"
        f" + (max({select(catalogue.KEY_ENDS)} <bool {thresholds.KEY_ENDS_SECONDS}) or vector(0)), 1)",
        "Us: upkeep",
    ),
    Query(f"2 * ({_REJECTED_SHARE} >bool {thresholds.KEY_REJECTED_SHARE:g})", "Our key"),
    Query(f"2 * max({_NOT_FOUND_SHARE} >bool {thresholds.MODEL_NOT_FOUND_SHARE:g})", "Retired models"),
)

_NOW: Final = Row(
    "Is it us, Claude, or one caller?",
    (
        states(
            "Health",
            "Green is good. Each row turns orange and red at the thresholds of the alerts. For rows named Us, see"
            " Limiter. For rows named Claude, see Models and upstream, and status.claude.com. Our key: Claude answers"
            " 401 or 403, so see the Claude Console. Retired models: a model that answered before gets 404. If all rows"
            " are green, look for a single caller in the table below. Us: upkeep is a refused reload, an unreadable"
            " state, or a key that expires soon.",
            _HEALTH,
            LIMITER,
            names=_STATES,
            width=13,
            height=10,
            no_value="No traffic",
        ),
        table(
            "Firing alerts",
            "None is good. Each alert links to its runbook.",
            {"alertname": "Alert", "severity": "Severity", "pool": "Pool", "about": "About"},
            [Column("Firing", f"sum by (alertname, severity, pool, about) ({_FIRING})", units.COUNT)],
            {"pool": LIMITER.by("pool")},
            LIMITER,
            sort_by="Severity",
            descending=False,  # alphabetical order puts critical first
            wide=("alertname",),
            words={"severity": {"critical": units.CRITICAL, "warning": units.WARNING, "info": units.NEUTRAL}},
            width=11,
            height=10,
            no_value="No alert fires",
        ),
        stat(
            "Calls",
            "Calls per second, all outcomes. Compare with the same time on other days. A sudden drop to zero is a fault"
            " in front of Tidegate.",
            units.PER_SECOND,
            Query(_CALLS),
            CALLERS,
        ),
        stat(
            "Answered",
            "Share of calls that did not fail, excluding refused, invalid and abandoned ones. Below the objective, the"
            " error budget shrinks: see SLO.",
            units.SHARE,
            Query(availability(rate)),
            SLO,
            steps=((None, units.CRITICAL), (thresholds.AVAILABILITY_TARGET, units.GOOD)),
            no_value="No traffic",
            decimals=1,
        ),
        stat(
            "Queue wait, p95",
            "Wait for quota, excluding class batch. Milliseconds, the lowest bucket of the histogram, mean no wait;"
            " otherwise see Limiter.",
            units.SECONDS,
            Query(_WAIT_P95),
            LIMITER,
            steps=levels.QUEUE_WAIT,
            no_value="No traffic",
        ),
        stat(
            "Refused calls",
            "Share of calls refused by Tidegate. Zero is good; otherwise see the causes below.",
            units.SHARE,
            Query(_REFUSED_SHARE),
            LIMITER,
            steps=levels.REFUSED,
            no_value="No traffic",
            decimals=1,
        ),
        stat(
            "Claude: 429",
            "Share of attempts above Claude's limits. Near zero is good, because Tidegate waits instead. Otherwise"
            " other clients use the same quota, or a limit was lowered.",
            units.SHARE,
            Query(_LIMITED_SHARE),
            MODELS,
            steps=levels.LIMITED,
            no_value="No attempts",
            decimals=1,
        ),
        BUSIEST_CALLER,
    ),
)

_COURSE: Final = Row(
    "Rate, errors, duration",
    (
        timeseries(
            "Calls by outcome",
            "Mostly ok is good. refused: by Tidegate. rate_limited: a 429 of Claude that could not be retried in time."
            " upstream_error: a failure after all retries. client_error and abandoned: caused by the program.",
            units.PER_SECOND,
            [Query(rate(catalogue.REQUESTS, by="outcome"), "{{outcome}}")],
            CALLERS,
            stacked=True,
            colours={
                "ok": units.GOOD,
                "refused": units.REFUSED,
                "upstream_error": units.FAILED,
                "rate_limited": units.LIMITED,
                "client_error": units.NEUTRAL,
                "abandoned": units.UNKNOWN,
            },
        ),
        timeseries(
            "Duration of calls",
            "Time from arrival to the last byte, including waits for quota. It depends on the length of responses. If"
            " it grows, see Models and upstream for the part that grew. Diamonds are traced calls.",
            units.SECONDS,
            [
                Query(quantile(0.99, catalogue.REQUEST_DURATION), "p99", exemplars=True),
                Query(quantile(0.95, catalogue.REQUEST_DURATION), "p95"),
                Query(quantile(0.5, catalogue.REQUEST_DURATION), "p50"),
            ],
            MODELS,
        ),
        timeseries(
            "Refused calls, by cause",
            "None is good. deadline and queue_full: too much demand. budget, caller_limit and forbidden: limits of one"
            " caller. unauthenticated: a wrong key. upstream_outage: Claude. head: a malformed (400), slow (408) or too"
            " long (431) request head; the log has the client's address.",
            units.PER_MINUTE,
            [
                Query(nonzero_per_minute(catalogue.REFUSED, by="cause"), "{{cause}}", exemplars=True),
                Query(nonzero_per_minute(catalogue.HEADS_REFUSED, by="status"), "head {{status}}"),
            ],
            CALLERS,
            stacked=True,
            colours=units.CAUSES,
            shades={"/^head/": units.NEUTRAL},
            no_value="No refusals",
        ),
        timeseries(
            "Failures of Claude, by status",
            "Failed attempts, before retries. None is good. 429: rate limits. 529: Claude is overloaded for all users."
            " 5xx and error: Claude, or the network.",
            units.PER_MINUTE,
            [
                Query(
                    nonzero_per_minute(catalogue.UPSTREAM_ATTEMPTS, by="status", status="=~429|5..|error"), "{{status}}"
                ),
            ],
            MODELS,
            stacked=True,
            colours={"429": units.LIMITED, "529": units.OVERLOADED, "/^5(0|xx)/": units.FAILED, "error": units.WARNING},
            no_value="No failures",
        ),
    ),
)

_CALLERS: Final = Row(
    "Callers",
    (
        table(
            "Callers",
            "The callers with most calls in the time range. Look for a caller with a large share, many refusals or many"
            " errors, and click it. `other` is all callers without a configured name.",
            {"caller": "Caller"},
            [
                *CALLER_COLUMNS,
                Column("Tokens", increase(catalogue.TOKENS, by="caller"), units.COUNT, decimals=1),
                Column("Cost", COST_OF_CALLERS, units.DOLLARS, decimals=2),
            ],
            {"caller": CALLERS.by("caller")},
            CALLERS,
            sort_by="Calls",
            only=BUSIEST_CALLERS,
            height=7,
        ),
    ),
)

_SATURATION: Final = Row(
    "Saturation",
    (
        timeseries(
            "Fullest limit of each pool",
            "Used share of the dimension nearest to its limit. Near 100 %, calls may wait, which is fine for a while."
            " Above the line, a full bucket is being used up; if that lasts, the queue grows.",
            units.SHARE,
            [
                Query(
                    f"max by (pool) (60 * {rate(catalogue.QUOTA_CHARGED, by='pool, dimension')}"
                    f" / {shared(catalogue.LIMIT_PER_MINUTE, 'pool, dimension', source='effective')})",
                    "{{pool}}",
                )
            ],
            LIMITER.by("pool"),
            width=8,
            limits=((thresholds.QUOTA_USED_RUNS_OUT, units.CRITICAL),),
        ),
        timeseries(
            "Waiting calls",
            "Calls in the queue. Zero or short bursts are good. Steady growth means that demand exceeds the quota: find"
            " the caller, or ask for a higher limit.",
            units.COUNT,
            [Query(total(catalogue.QUEUE_DEPTH, "pool"), "{{pool}}")],
            LIMITER.by("pool"),
            width=8,
            limits=((thresholds.QUEUE_GROWING_DEPTH, units.WARNING),),
        ),
        timeseries(
            "Event loop lag",
            "Delay of timers in the event loop. Milliseconds are good. Otherwise the CPU is too slow, or a task blocks"
            " the loop.",
            units.SECONDS,
            [
                Query(quantile(0.99, catalogue.EVENT_LOOP_LAG, by="instance"), "p99 {{instance}}"),
            ],
            OVERVIEW,
            width=8,
            limits=((thresholds.LOOP_LAG_P99_SECONDS, units.WARNING),),
        ),
        timeseries(
            "CPU",
            "Share of one core, by replica. A process uses one core. Below 70 % is good; above, add replicas.",
            units.SHARE,
            [
                Query(
                    'rate(process_cpu_seconds_total{job=~"$job",instance=~"$instance"}[$__rate_interval])',
                    "{{instance}}",
                )
            ],
            OVERVIEW,
            width=6,
            height=7,
        ),
        timeseries(
            "Memory",
            "Resident memory by replica. A plateau is good. Growth over days is a leak: restart and report it.",
            units.BYTES,
            [Query('process_resident_memory_bytes{job=~"$job",instance=~"$instance"}', "{{instance}}")],
            OVERVIEW,
            width=6,
            height=7,
        ),
        timeseries(
            "Event loop tasks",
            "A few tasks per call in progress are good. Growth without more calls is a leak: report it.",
            units.COUNT,
            [Query(select(catalogue.EVENT_LOOP_TASKS), "{{instance}}")],
            OVERVIEW,
            width=6,
            height=7,
        ),
        timeseries(
            "Failed scrapes",
            "Replicas that Prometheus cannot scrape. Zero is good; otherwise the numbers above are incomplete.",
            units.COUNT,
            [Query(f"1 - {_UP}", "{{instance}}")],
            OVERVIEW,
            width=6,
            height=7,
            colours={"/.*/": units.CRITICAL},
            max_value=1,
        ),
    ),
)

OVERVIEW_BOARD: Final = Board(
    OVERVIEW, "Is it us, Claude, or one caller?", (_NOW, _COURSE, _CALLERS, _SATURATION, REPLICAS_ROW)
)
