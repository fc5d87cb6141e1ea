"""Dashboard "Limiter": the limits that delay calls, and how accurately the limiter knows them."""

from typing import Final

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Dimension
from tidegate.monitoring.dashboards import units
from tidegate.monitoring.dashboards.board import Board, Row
from tidegate.monitoring.dashboards.content.admission import ADMISSION_ROW
from tidegate.monitoring.dashboards.links import LIMITER, MODELS
from tidegate.monitoring.dashboards.panel_types import states, timeseries
from tidegate.monitoring.dashboards.panels import Panel
from tidegate.monitoring.dashboards.queries import (
    Query,
    limit_used,
    nonzero_per_minute,
    quantile,
    rate,
    shared,
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
        f"{title}: used share",
        f"Charged {words} per minute, as a share of the effective limit, which is the dashed line. Below it is good; at"
        " it, calls wait. Far below it while calls wait: another dimension is the bottleneck. Pools without a known"
        " limit are absent.",
        units.SHARE,
        [Query(limit_used("pool", dimension=dimension), "{{pool}}")],
        MODELS.by("pool"),
        width=8,
        height=9,
        limits=((thresholds.QUOTA_USED_RUNS_OUT, units.CRITICAL),),
        no_value="No limit is known",
    )


_LIMITS: Final = Row(
    "Which limit binds?",
    (
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
                    limit_used("pool, dimension"),
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
        *(_use_against_limit(dimension) for dimension in Dimension),
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
            dashed="/ limit$/",
            # The limit ends when the failures do, and its last value would look like the present one.
            calculations=("max",),
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
            limits=((thresholds.ESTIMATE_RATIO_LOW, units.WARNING), (thresholds.ESTIMATE_RATIO_HIGH, units.WARNING)),
            no_value="No calls",
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
            no_value="None",
        ),
    ),
)

LIMITER_BOARD: Final = Board(
    LIMITER,
    "Which limit delays calls, and how well does the limiter know it?",
    (_LIMITS, _LEVELS, ADMISSION_ROW, _ESTIMATE),
)
