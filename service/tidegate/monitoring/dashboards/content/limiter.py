"""Dashboard "Limiter": the limits that delay calls, and how accurately the limiter knows them."""

from typing import Final

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Dimension
from tidegate.monitoring.dashboards import levels, units
from tidegate.monitoring.dashboards.board import Board, Row
from tidegate.monitoring.dashboards.content.admission import ADMISSION_ROW
from tidegate.monitoring.dashboards.links import CALLERS, LIMITER, MODELS, OVERVIEW
from tidegate.monitoring.dashboards.panel_types import heatmap, stat, states, timeseries
from tidegate.monitoring.dashboards.panels import Panel
from tidegate.monitoring.dashboards.queries import (
    Query,
    histogram,
    nonzero_per_minute,
    quantile,
    rate,
    shared,
    total,
)
from tidegate.monitoring.dashboards.tables import Column, table
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["LIMITER_BOARD"]

_WORDS: Final = {
    Dimension.REQUESTS: ("Requests", "requests"),
    Dimension.INPUT_TOKENS: ("Input tokens", "input tokens (without cache reads)"),
    Dimension.OUTPUT_TOKENS: ("Output tokens", "output tokens"),
}
_AVAILABLE: Final = shared(catalogue.AVAILABLE, "pool, dimension")
_CAPACITY: Final = shared(catalogue.CAPACITY, "pool, dimension")
_CLOSED: Final = " or ".join(
    (
        f"4 * {shared(catalogue.CIRCUIT_OPEN, 'pool', cause=Cause.SPEND_CAP)} > 0",
        f"3 * {shared(catalogue.CIRCUIT_OPEN, 'pool', cause=Cause.UPSTREAM_OUTAGE)} > 0",
        f"2 * {shared(catalogue.POOL_FROZEN, 'pool')} > 0",
        shared(catalogue.POOL_PROBING, "pool"),
    )
)
"""0 is open; higher numbers are worse."""
_EFFECTIVE: Final = shared(catalogue.LIMIT_PER_MINUTE, "pool, dimension", source="effective")
_USED: Final = f"60 * {rate(catalogue.QUOTA_CHARGED, by='pool, dimension')}"


def _limit_of(source: str) -> str:
    return shared(catalogue.LIMIT_PER_MINUTE, "pool, dimension", source=source)


def _use_against_limit(dimension: Dimension) -> Panel:
    title, words = _WORDS[dimension]
    return timeseries(
        f"{title}: use and limit",
        f"Solid: charged {words} per minute. Dashed: the effective limit. Below the limit is good; at the limit, calls"
        " wait. Far below it while calls wait: another dimension is the bottleneck. Pools without a known limit have"
        " no dashed line.",
        units.TOKENS_PER_MINUTE if dimension is not Dimension.REQUESTS else units.PER_MINUTE,
        [
            Query(nonzero_per_minute(catalogue.QUOTA_CHARGED, by="pool", dimension=dimension), "{{pool}}"),
            Query(
                shared(catalogue.LIMIT_PER_MINUTE, "pool", dimension=dimension, source="effective"),
                "{{pool}} limit",
            ),
        ],
        MODELS,
        width=8,
        height=9,
        # Pools of other endpoints have 50 times the request limit of models.
        logarithmic=dimension is Dimension.REQUESTS,
        dashed="/ limit$/",
    )


_NOW: Final = Row(
    "Which limit binds?",
    (
        stat(
            "Waiting calls",
            "Calls in the queue. Zero is good; otherwise see below which dimension is exhausted.",
            units.COUNT,
            Query(f"sum({total(catalogue.QUEUE_DEPTH, 'pool')})"),
            CALLERS,
            steps=levels.rising(thresholds.QUEUE_GROWING_DEPTH),
        ),
        stat(
            "Queue wait, p95",
            "Wait for quota, excluding class batch. Milliseconds, the lowest bucket of the histogram, mean no wait;"
            " otherwise demand exceeds the quota.",
            units.SECONDS,
            Query(quantile(0.95, catalogue.QUEUE_WAIT, class_="!=batch")),
            OVERVIEW,
            steps=levels.QUEUE_WAIT,
            no_value="No traffic",
        ),
        stat(
            "Frozen pools",
            "Pools closed after a 429. Zero is good, and a few seconds are harmless; otherwise see 429s by dimension.",
            units.COUNT,
            Query(f"sum({shared(catalogue.POOL_FROZEN, 'pool')})"),
            MODELS,
        ),
        stat(
            "Lowest factor",
            "The lowest adaptive factor of all pools. 100 % is good. 429s lower it and successes raise it. If it stays"
            " low, the real limit is below the known one.",
            units.SHARE,
            Query(f"min({shared(catalogue.ADAPTIVE_FACTOR, 'pool')})"),
            MODELS,
            steps=((None, units.WARNING), (thresholds.ADAPTIVE_FACTOR_LOW, units.GOOD)),
            decimals=0,
        ),
        stat(
            "Calls in flight",
            "Open leases. One per response in progress is normal; a plateau without traffic is a leak.",
            units.COUNT,
            Query(f"sum({shared(catalogue.IN_FLIGHT, 'pool')})"),
            MODELS,
        ),
        stat(
            "Oldest lease",
            "Age of the oldest open lease. Below the default deadline of ten minutes is good. Far above it, a lease"
            " leaks: restart the replica and report it.",
            units.SECONDS,
            Query(f"max({shared(catalogue.OLDEST_LEASE, 'pool')})"),
            MODELS,
            steps=levels.rising(thresholds.OLDEST_LEASE_SECONDS),
            no_value="None in flight",
        ),
    ),
)

_LIMITS: Final = Row(
    "Limits by source, against use",
    (
        *(_use_against_limit(dimension) for dimension in Dimension),
        table(
            "Limits",
            "Limits per minute. Effective: the lowest of the others times the adaptive factor. Empty: unknown."
            " Configured above upstream: correct the configuration. Share above 100 %: a full bucket is being used up."
            " Left: level of the bucket; below zero is debt. Refill: time until the bucket is full.",
            {"pool": "Pool", "dimension": "Dimension"},
            [
                Column("Configured", _limit_of("configured"), units.COUNT),
                Column("Upstream", _limit_of("upstream"), units.COUNT),
                Column("Effective", _EFFECTIVE, units.COUNT),
                Column("Used", _USED, units.COUNT, decimals=1),
                Column(
                    "Share used",
                    f"{_USED} / {_EFFECTIVE}",
                    units.SHARE,
                    steps=((None, units.GOOD), (thresholds.QUOTA_USED_RUNS_OUT, units.CRITICAL)),
                    decimals=1,
                    gauge=True,
                ),
                Column("Left", _AVAILABLE, units.COUNT, decimals=1),
                Column(
                    "Refill",
                    f"({_CAPACITY} - {_AVAILABLE}) * 60 / {_EFFECTIVE}",
                    units.SECONDS,
                    decimals=0,
                ),
            ],
            {"pool": MODELS.by("pool")},
            MODELS,
            sort_by="Share used",
            height=10,
            no_value="No limit is known yet",
        ),
    ),
)

_LEVELS: Final = Row(
    "Levels, adaptation, freezes",
    (
        timeseries(
            "Bucket level",
            "Level of the token bucket as a share of its capacity. Above zero is good; at zero, calls wait. Below zero"
            " is debt of responses that used more than reserved.",
            units.SHARE,
            [Query(f"{_AVAILABLE} / {_CAPACITY}", "{{pool}} {{dimension}}")],
            MODELS.by("pool"),
            calculations=("min", "lastNotNull"),
        ),
        timeseries(
            "Adaptive factor",
            "Share of the full rate in use. 100 % is good. Each 429 lowers it, and successes raise it. If it stays low,"
            " other clients use the quota, or the real limit is below the known one.",
            units.SHARE,
            [Query(shared(catalogue.ADAPTIVE_FACTOR, "pool"), "{{pool}}")],
            MODELS.by("pool"),
            max_value=1,
            limits=((thresholds.ADAPTIVE_FACTOR_LOW, units.WARNING),),
            calculations=("min", "lastNotNull"),
        ),
        states(
            "Closed pools over time",
            "A 429 closes a pool for `retry-after`, a spend cap until the date given by Claude, and an outage while"
            " probes fail. Open is good, and short freezes are harmless; otherwise see 429s by dimension on Models and"
            " upstream.",
            [Query(_CLOSED, "{{pool}}")],
            MODELS.by("pool"),
            names={
                0: ("open", units.GOOD),
                1: ("probing", units.WARNING),
                2: ("frozen", units.LIMITED),
                3: ("outage", units.OVERLOADED),
                4: ("spend cap", units.FAILED),
            },
            width=8,
        ),
        timeseries(
            "Requests in the last minute",
            "Requests admitted by all replicas in the last minute. Below the request limit is good; at the limit, calls"
            " wait. Far below it while calls wait: tokens are the bottleneck.",
            units.COUNT,
            [Query(total(catalogue.CURRENT_RPM, "pool"), "{{pool}}")],
            MODELS.by("pool"),
            width=8,
        ),
        timeseries(
            "Calls in flight and their limit",
            "Solid: calls in progress. Dashed: the concurrency limit after failures; no dashed line is good. At the"
            " limit, calls wait for Claude rather than for quota.",
            units.COUNT,
            [
                Query(shared(catalogue.IN_FLIGHT, "pool"), "{{pool}}"),
                Query(shared(catalogue.CONCURRENCY_LIMIT, "pool"), "{{pool}} limit"),
            ],
            MODELS.by("pool"),
            width=8,
            dashed="/ limit$/",
        ),
    ),
)

_ESTIMATE: Final = Row(
    "How good are the estimates?",
    (
        timeseries(
            "Estimate error, median",
            "Ratio of reserved to used quota. Near 1 is good. Below, calls use more than reserved, which causes 429s."
            " Above, quota is idle until the response ends.",
            units.RATIO,
            [
                Query(quantile(0.5, catalogue.ESTIMATE_ERROR, by="pool, dimension"), "{{pool}} {{dimension}}"),
            ],
            MODELS.by("pool"),
            width=8,
            limits=((thresholds.ESTIMATE_RATIO_LOW, units.WARNING), (thresholds.ESTIMATE_RATIO_HIGH, units.WARNING)),
        ),
        heatmap(
            "Estimate error",
            "Ratio of reserved to used quota, per settled call and token dimension. A band at 1 is good.",
            units.RATIO,
            histogram(catalogue.ESTIMATE_ERROR),
            MODELS,
            width=8,
            no_value="No call was settled",
        ),
        timeseries(
            "Anomalies",
            "Implausible values per minute, by kind. None is good. The effect of each is bounded, and the log names the"
            " pool. `limits`: rate-limit headers that were ignored. `limits_missing`: responses without any."
            " `retry_after`: a value that no rate limit explains. `usage`: missing, or more than a model can use;"
            " charged by the estimate. `clock`: a step, or a difference to the upstream. `lease`: open for an hour;"
            " charged by the estimate.",
            units.PER_MINUTE,
            [Query(nonzero_per_minute(catalogue.ANOMALIES, by="kind"), "{{kind}}")],
            MODELS,
            width=8,
            no_value="None",
        ),
    ),
)

LIMITER_BOARD: Final = Board(
    LIMITER,
    "Which limit delays calls, and how well does the limiter know it?",
    (_NOW, _LIMITS, _LEVELS, ADMISSION_ROW, _ESTIMATE),
)
