"""Dashboard "Overview": whether a problem is caused by Tidegate, by Claude or by one caller."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from tidegate.monitoring.dashboards import levels, units
from tidegate.monitoring.dashboards.board import Board, Row
from tidegate.monitoring.dashboards.content.callers import BUSIEST_CALLERS
from tidegate.monitoring.dashboards.content.firing import FIRING_ALERTS
from tidegate.monitoring.dashboards.content.health import ERROR_SHARE, HEALTH, IDLE, REFUSED_SHARE, WAIT_P95, or_idle
from tidegate.monitoring.dashboards.content.replicas import REPLICAS_ROW
from tidegate.monitoring.dashboards.links import CALLERS, LIMITER, MODELS, OVERVIEW, SLO, Link
from tidegate.monitoring.dashboards.panel_types import PLAIN, stat, timeseries
from tidegate.monitoring.dashboards.panels import Panel, Step
from tidegate.monitoring.dashboards.queries import (
    Query,
    availability,
    increase,
    limit_used,
    nonzero_per_minute,
    or_zero,
    quantile,
    quantiles,
    rate,
    total,
)
from tidegate.monitoring.dashboards.tables import Column, table
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["OVERVIEW_BOARD"]

_CALLS: Final = rate(catalogue.REQUESTS)
_BY_CALLER: Final = increase(catalogue.REQUESTS, by="caller")


def _calls_with(outcome: str) -> str:
    """The calls of each caller with this outcome, or 0."""
    return or_zero(increase(catalogue.REQUESTS, by="caller", outcome=outcome), _BY_CALLER)


def _now(
    title: str,
    description: str,
    unit: str,
    value: str,
    link: Link,
    *,
    steps: Sequence[Step] = PLAIN,
    decimals: int | None = None,
    none_below: float = 0,
) -> Panel:
    """A number of the present. `none_below` is the least value that differs from zero."""
    panel = stat(title, description, unit, Query(or_idle(value)), link, steps=steps, decimals=decimals, height=3)
    words = [{"type": "value", "options": {str(IDLE): {"text": "None ended", "color": units.UNKNOWN}}}]
    if none_below:
        words.append({"type": "range", "options": {"from": 0, "to": none_below, "result": {"text": "none"}}})
    return replace(panel, defaults={**panel.defaults, "mappings": [*panel.defaults["mappings"], *words]})


_NOW: Final = Row(
    "Is it us, Claude, our key, or one caller?",
    (
        FIRING_ALERTS,
        HEALTH,
        table(
            "Callers in the time range, by unsuccessful calls",
            "The callers with most calls in the time range, those with most unsuccessful ones first. If one caller"
            " alone has them, it is the caller: click it. If all do, see Who above. A large share of calls with"
            " refusals is a flood. The column Other has invalid calls, those that were given up, and those whose"
            " deadline passed. The caller `other` is all callers without a name of their own.",
            {"caller": "Caller"},
            [
                Column("Unsuccessful", _calls_with("!=ok"), units.EXACT_COUNT, decimals=0),
                Column("Refused", _calls_with("refused"), units.EXACT_COUNT, decimals=0),
                Column("429", _calls_with("rate_limited"), units.EXACT_COUNT, decimals=0),
                Column("Claude failed", _calls_with("upstream_error"), units.EXACT_COUNT, decimals=0),
                Column("Other", _calls_with("=~deadline|client_error|abandoned"), units.EXACT_COUNT, decimals=0),
                Column("Calls", _BY_CALLER, units.EXACT_COUNT, decimals=0),
                Column(
                    "Share",
                    f"{_BY_CALLER} / scalar({increase(catalogue.REQUESTS)})",
                    units.SHARE,
                    decimals=0,
                    gauge=True,
                ),
            ],
            {"caller": CALLERS.by("caller")},
            CALLERS,
            sort_by="Unsuccessful",
            only=f"({BUSIEST_CALLERS} > 0)",
            widths={"Refused": 72, "429": 52, "Other": 58, "Calls": 64},
            width=12,
            height=8,
            no_value="No calls",
        ),
        _now(
            "Calls now",
            "Calls per second, all outcomes. Compare with the same time on other days. A sudden drop to zero is a fault"
            " in front of Tidegate.",
            units.PER_SECOND,
            _CALLS,
            CALLERS,
        ),
        _now(
            "Answered now",
            "Share of calls that did not fail, excluding refused, invalid and abandoned ones. Not filtered by caller."
            " Below the objective, the error budget shrinks: see SLO.",
            units.SHARE,
            availability(rate),
            SLO,
            steps=((None, units.CRITICAL), (thresholds.AVAILABILITY_TARGET, units.GOOD)),
            decimals=1,
        ),
        _now(
            "Wait now, p95",
            "Wait for quota of the pool and class that wait longest, excluding class batch and callers that flood a"
            " pool. Needs the recording rules; not filtered by instance. None is good; otherwise see Limiter.",
            units.SECONDS,
            WAIT_P95,
            LIMITER,
            steps=levels.QUEUE_WAIT,
            none_below=catalogue.QUEUE_WAIT.buckets[0],
        ),
        _now(
            "Refused now",
            "Share of calls that Tidegate refuses for the most frequent cause. Zero is good; otherwise see the causes"
            " below.",
            units.SHARE,
            REFUSED_SHARE,
            LIMITER,
            steps=levels.REFUSED,
            decimals=1,
        ),
        _now(
            "5xx, not 529",
            "Share of the requests to Claude that failed with a 5xx other than 529, or got no response. Near zero is"
            " good. Retries hide them until they are many. For 429, 529 and our key, see Health.",
            units.SHARE,
            ERROR_SHARE,
            MODELS,
            steps=levels.rising(thresholds.UPSTREAM_ERROR_SHARE_WARNING, thresholds.UPSTREAM_ERROR_SHARE_CRITICAL),
            decimals=1,
        ),
        _now(
            "Spend per hour",
            "US dollars per hour at list prices, at the current rate. Compare with previous days in Callers.",
            units.DOLLARS,
            f"3600 * {rate(catalogue.COST_USD)}",
            CALLERS,
            decimals=2,
        ),
    ),
)

_COURSE: Final = Row(
    "Rate, errors, duration",
    (
        timeseries(
            "Calls by outcome",
            "Mostly ok is good. refused: by Tidegate. rate_limited: a 429 of Claude that could not be retried in time."
            " deadline: the call's timeout passed. upstream_error: a failure after all retries. client_error and"
            " abandoned: caused by the program.",
            units.PER_MINUTE,
            [Query(nonzero_per_minute(catalogue.REQUESTS, by="outcome"), "{{outcome}}")],
            CALLERS,
            stacked=True,
            colours=units.OUTCOMES,
            no_value="No calls",
        ),
        timeseries(
            "Duration of calls",
            "Time from arrival to the last byte, including waits for quota. It depends on the length of responses. If"
            " it grows, see Models and upstream for the part that grew. Diamonds are traced calls.",
            units.SECONDS,
            quantiles(catalogue.REQUEST_DURATION),
            MODELS,
            no_value="No calls",
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
            colours=units.FAILURES,
            no_value="No failures",
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
            [Query(limit_used("pool"), "{{pool}}")],
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
    ),
)

OVERVIEW_BOARD: Final = Board(
    OVERVIEW, "Is it us, Claude, our key, or one caller?", (_NOW, _COURSE, _SATURATION, REPLICAS_ROW)
)
