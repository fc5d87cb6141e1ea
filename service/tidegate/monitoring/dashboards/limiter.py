"""Limiter: which limit holds calls back, and does the limiter know it well?"""

from typing import Final

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import Dimension
from tidegate.monitoring.dashboards import levels, units
from tidegate.monitoring.dashboards.board import Board, Row
from tidegate.monitoring.dashboards.links import CALLERS, LIMITER, MODELS, OVERVIEW
from tidegate.monitoring.dashboards.panel_types import bars, heatmap, stat, states, timeseries
from tidegate.monitoring.dashboards.panels import Panel
from tidegate.monitoring.dashboards.queries import (
    Query,
    histogram,
    increase,
    nonzero_per_minute,
    or_zero,
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
    Dimension.INPUT_TOKENS: ("Input tokens", "input tokens; what the prompt cache answers is free"),
    Dimension.OUTPUT_TOKENS: ("Output tokens", "output tokens"),
}
_SHORTEST: Final = str(catalogue.QUEUE_WAIT.buckets[0])
"""Bucket of the waits, in seconds, that count as none."""
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
"""0 is open; the greater the number, the worse."""
_EFFECTIVE: Final = shared(catalogue.LIMIT_PER_MINUTE, "pool, dimension", source="effective")
_USED: Final = f"60 * {rate(catalogue.QUOTA_CHARGED, by='pool, dimension')}"
_ADMITTED: Final = increase(catalogue.QUEUE_WAIT, suffix="_count")
_AT_ONCE: Final = increase(catalogue.QUEUE_WAIT, suffix="_bucket", le=_SHORTEST)
_AT_ONCE_RATE: Final = rate(catalogue.QUEUE_WAIT, suffix="_bucket", le=_SHORTEST)


def _limit_of(source: str) -> str:
    return shared(catalogue.LIMIT_PER_MINUTE, "pool, dimension", source=source)


def _use_against_limit(dimension: Dimension) -> Panel:
    title, words = _WORDS[dimension]
    return timeseries(
        f"{title}: use and limit",
        f"Solid: {words} that were charged, per minute. Dashed: the limit in force. Below the dashed line is good; at"
        " it, calls wait. Far below it while calls wait: another dimension binds. Pools without a known limit have no"
        " dashed line.",
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
        # Pools of other endpoints grant fifty times as many requests as those of models.
        logarithmic=dimension is Dimension.REQUESTS,
        dashed="/ limit$/",
        calculations=("max", "lastNotNull"),
    )


_NOW: Final = Row(
    "Which limit binds?",
    (
        stat(
            "Waiting calls",
            "Calls in the queue now. Zero is good. More: see which dimension is used up below.",
            units.COUNT,
            Query(f"sum({total(catalogue.QUEUE_DEPTH, 'pool')})"),
            CALLERS,
            steps=levels.rising(thresholds.QUEUE_GROWING_DEPTH),
        ),
        stat(
            "Queue wait, p95",
            "Of all classes but batch. Milliseconds, the lowest bucket of the histogram, are no wait; else demand is"
            " above the quota.",
            units.SECONDS,
            Query(quantile(0.95, catalogue.QUEUE_WAIT, class_="!=batch")),
            OVERVIEW,
            steps=levels.QUEUE_WAIT,
            no_value="No traffic",
        ),
        stat(
            "Frozen pools",
            "Pools that a 429 keeps closed now. Zero is good; seconds are harmless; for long, see 429s by dimension.",
            units.COUNT,
            Query(f"sum({shared(catalogue.POOL_FROZEN, 'pool')})"),
            MODELS,
        ),
        stat(
            "Lowest factor",
            "Adaptive factor of the pool that 429s have cut most. 100 % is good. Lower: successes win it back; for"
            " long, the real limit is lower than the known one.",
            units.SHARE,
            Query(f"min({shared(catalogue.ADAPTIVE_FACTOR, 'pool')})"),
            MODELS,
            steps=((None, units.WARNING), (thresholds.ADAPTIVE_FACTOR_LOW, units.GOOD)),
            decimals=0,
        ),
        stat(
            "Calls in flight",
            "Leases that have not ended. As many as answers are being written is normal; a plateau without traffic is"
            " a leak.",
            units.COUNT,
            Query(f"sum({shared(catalogue.IN_FLIGHT, 'pool')})"),
            MODELS,
        ),
        stat(
            "Oldest lease",
            "Below the deadline of calls (ten minutes) is good. Far above: a lease leaks; restart the replica and"
            " report it.",
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
            "Per minute. Effective is in force: the lowest of the others, times the adaptive factor. Empty: nobody"
            " has told. Configured above upstream: correct the configuration. Share above 100 %: a full bucket is"
            " being spent. Left: level of the bucket, below zero is debt. Refill: time until the bucket is full.",
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
            "Left in the bucket",
            "As a share of what the bucket holds. Good is anything above zero; at zero calls wait; below is debt of"
            " answers that cost more than was reserved.",
            units.SHARE,
            [Query(f"{_AVAILABLE} / {_CAPACITY}", "{{pool}} {{dimension}}")],
            MODELS.by("pool"),
            calculations=("min", "lastNotNull"),
        ),
        timeseries(
            "Adaptive factor",
            "Share of the full rate in use. 100 % is good; each 429 takes some, successes win it back. Low for long:"
            " something else spends the quota, or the limit is lower than known.",
            units.SHARE,
            [Query(shared(catalogue.ADAPTIVE_FACTOR, "pool"), "{{pool}}")],
            MODELS.by("pool"),
            most=1,
            limits=((thresholds.ADAPTIVE_FACTOR_LOW, units.WARNING),),
            calculations=("min", "lastNotNull"),
        ),
        states(
            "Closed pools over time",
            "A 429 freezes its pool for `retry-after`, a spend cap closes it until the date that Claude names, an"
            " outage while probes fail. Open is good; short freezes are harmless; often or long: see 429s by dimension"
            " on Models and upstream.",
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
            "Sent in the last minute",
            "What went upstream, of all replicas. Below the limit of requests per minute is good; at it calls wait; far"
            " below it, with calls waiting, tokens bind.",
            units.COUNT,
            [Query(total(catalogue.CURRENT_RPM, "pool"), "{{pool}}")],
            MODELS.by("pool"),
            width=8,
        ),
        timeseries(
            "Calls in flight and their limit",
            "Solid: calls whose answer has not ended. Dashed: how many may be unanswered at a time since failures cut"
            " it; no dashed line is good. At it, calls wait for Claude rather than for quota.",
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

_FUNNEL: Final = Row(
    "From arrival to admission",
    (
        bars(
            "Admission funnel",
            "In the time range. Most admitted at once is good. Admitted after a wait: the queue did its work."
            " Refused: see the cause. A call that a 429 sends back to the queue is admitted once more.",
            units.EXACT_COUNT,
            [
                Query(f"{_ADMITTED} + {increase(catalogue.REFUSED)}", "arrived", instant=True),
                Query(_AT_ONCE, "admitted at once", instant=True),
                Query(f"{_ADMITTED} - {_AT_ONCE}", "admitted after a wait", instant=True),
                Query(f"{increase(catalogue.REFUSED, by='cause')} > 0", "refused: {{cause}}", instant=True),
            ],
            CALLERS,
            colours={
                "arrived": units.NEUTRAL,
                "admitted at once": units.GOOD,
                "admitted after a wait": "yellow",
                "/^refused/": units.REFUSED,
            },
            height=9,
            decimals=0,
            no_value="No traffic",
        ),
        timeseries(
            "Admissions and refusals",
            "Green is good. Yellow: calls that waited. Other colours: refusals by cause.",
            units.PER_MINUTE,
            [
                Query(f"60 * {_AT_ONCE_RATE}", "admitted at once"),
                Query(
                    f"60 * ({rate(catalogue.QUEUE_WAIT, suffix='_count')} - {_AT_ONCE_RATE})",
                    "admitted after a wait",
                ),
                Query(nonzero_per_minute(catalogue.REFUSED, by="cause"), "refused: {{cause}}", exemplars=True),
            ],
            CALLERS,
            stacked=True,
            colours={
                "admitted at once": units.GOOD,
                "admitted after a wait": "yellow",
                **{f"refused: {cause}": colour for cause, colour in units.CAUSES.items()},
            },
            height=9,
        ),
        heatmap(
            "Queue wait",
            "How many calls waited how long. All in the lowest row is good; a cloud that climbs is a queue that grows.",
            units.SECONDS,
            histogram(catalogue.QUEUE_WAIT),
            CALLERS,
            no_value="No traffic",
        ),
        timeseries(
            "Queue wait by class, p95",
            "interactive below standard below batch is as it should be. A class far above the others for long is"
            " starved: look at the weights.",
            units.SECONDS,
            [
                Query(quantile(0.95, catalogue.QUEUE_WAIT, by="class"), "{{class}}", exemplars=True),
            ],
            CALLERS,
            colours=units.CLASSES,
            limits=levels.QUEUE_WAIT[1:],
        ),
        timeseries(
            "Waiting calls by class",
            "Zero or short bursts are good; a slope is demand above the quota.",
            units.COUNT,
            [Query(total(catalogue.QUEUE_DEPTH, "class"), "{{class}}")],
            CALLERS,
            colours=units.CLASSES,
            stacked=True,
            width=8,
            calculations=("max", "lastNotNull"),
        ),
        timeseries(
            "Waiting tokens by class",
            "What waiting calls will probably cost. Divided by the token limit per minute it is how many minutes are"
            " queued: less than one is good, else see who floods.",
            units.COUNT,
            [Query(total(catalogue.QUEUE_TOKENS, "class"), "{{class}}")],
            CALLERS,
            colours=units.CLASSES,
            stacked=True,
            width=8,
            calculations=("max", "lastNotNull"),
        ),
        timeseries(
            "Oldest waiting call by class",
            "How long who has waited longest has been waiting; 0, while nobody waits, is good. Growing in one class"
            " alone: it starves; give its callers more weight.",
            units.SECONDS,
            [
                Query(
                    or_zero(shared(catalogue.QUEUE_OLDEST, "class"), total(catalogue.QUEUE_DEPTH, "class")),
                    "{{class}}",
                )
            ],
            CALLERS,
            colours=units.CLASSES,
            limits=levels.QUEUE_WAIT[1:],
            width=8,
            calculations=("max", "lastNotNull"),
        ),
    ),
)

_ESTIMATE: Final = Row(
    "How good are the estimates?",
    (
        timeseries(
            "Estimate error, median",
            "Reserved over used. Near 1 is good. Below: calls cost more than reserved, and 429s follow. Above: quota"
            " is held back for nothing until the answer ends.",
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
            "Reserved over used, per settled call and token dimension. A band at 1 is good.",
            units.RATIO,
            histogram(catalogue.ESTIMATE_ERROR),
            MODELS,
            width=8,
            no_value="No call was settled",
        ),
        timeseries(
            "What cannot be",
            "Per minute, by kind; the effect of each is bounded, and the log names the pool. None is good."
            " `limits`: limit headers that were left out. `limits_missing`: answers without any. `retry_after`:"
            " one that no rate limit asks for. `usage`: none, or more than a model can use; charged by the"
            " estimate. `clock`: ours stepped, or is not the upstream's. `lease`: an answer that nobody ended"
            " within an hour was charged its estimate.",
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
    "Which limit holds calls back, and does the limiter know it well?",
    (_NOW, _LIMITS, _LEVELS, _FUNNEL, _ESTIMATE),
)
