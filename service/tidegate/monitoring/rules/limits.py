"""Alerts on limits, quota, queue and refusals."""

from typing import Final

from tidegate.monitoring.dashboards.links import CALLERS, LIMITER
from tidegate.monitoring.replica_sums import over_replicas
from tidegate.monitoring.rules.recording import QUEUE_DEPTH, QUEUE_WAIT_P95, QUOTA_USED
from tidegate.monitoring.rules.rule import Alert, Group, TopContributor, duration, enough_above, frequent
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["LIMITS"]

_LIMITED: Final = catalogue.RATE_LIMITED.name
_RATE_WINDOW: Final = duration(thresholds.RATE_LIMITED_WINDOW_SECONDS)
_STARVED: Final = duration(thresholds.STARVED_WINDOW_SECONDS)
_WAIT_SECONDS: Final = thresholds.QUEUE_WAIT_WINDOW_SECONDS
_GROWTH: Final = duration(thresholds.QUEUE_GROWTH_WINDOW_SECONDS)
_UNUSED: Final = duration(thresholds.QUOTA_UNUSED_WINDOW_SECONDS)
_REFUSED: Final = catalogue.REFUSED.name
_REFUSED_WINDOW: Final = duration(thresholds.REFUSED_WINDOW_SECONDS)
_TOP_DIMENSION: Final = TopContributor(
    "dimension", f"increase({_LIMITED}{{job=%q,pool=%q}}[{_RATE_WINDOW}])", ("job", "pool")
)
_REFUSALS: Final = "sum by (job, pool, cause)"
_TOP_REFUSED: Final = TopContributor(
    "caller", f"increase({_REFUSED}{{job=%q,pool=%q,cause=%q}}[{_REFUSED_WINDOW}])", ("job", "pool", "cause")
)


def _rate_limit_spike() -> Alert:
    least_share = thresholds.RATE_LIMITED_SHARE_WARNING
    return Alert(
        name="TidegateRateLimitSpike",
        severity="warning",
        expr=frequent(
            _LIMITED,
            catalogue.UPSTREAM_ATTEMPTS.name,
            least_share,
            least=thresholds.RATE_LIMITED_LEAST,
            window_seconds=thresholds.RATE_LIMITED_WINDOW_SECONDS,
            recent_seconds=thresholds.RATE_LIMITED_RECENT_SECONDS,
            by="job, pool",
        ),
        for_seconds=120,
        keep_firing_seconds=300,
        summary="Many requests to the upstream get a 429.",
        description=(
            "{{ $value | humanizePercentage }} of the attempts in pool {{ $labels.pool }} got a 429 in the last "
            f"{_RATE_WINDOW} (threshold: {least_share:.0%})."
            + _TOP_DIMENSION.template(' Exhausted limit: {{ .Labels.dimension }} ({{ .Value | printf "%.0f" }} times).')
        ),
        dashboard=LIMITER,
        by=("pool",),
    )


def _queue_wait_high() -> Alert:
    by, seconds = "job, pool, class", thresholds.QUEUE_WAIT_P95_WARNING_SECONDS
    return Alert(
        name="TidegateQueueWaitHigh",
        severity="warning",
        expr=(
            f'{QUEUE_WAIT_P95}{{class!="batch"}} > {seconds:g}\n'
            f"and {enough_above(catalogue.QUEUE_WAIT, seconds, thresholds.QUEUE_WAIT_LEAST, _WAIT_SECONDS, by)}"
        ),
        for_seconds=300,
        keep_firing_seconds=300,
        summary="Calls wait too long for quota.",
        description=(
            "5% of the calls of class {{ $labels.class }} in pool {{ $labels.pool }} wait "
            f"{{{{ $value | humanizeDuration }}}} or longer for quota (threshold: {seconds:g} s)."
        ),
        dashboard=LIMITER,
        by=("pool",),
    )


def _limit_mismatch(severity: str, comparison: str, text: str) -> Alert:
    by, name = "job, pool, dimension", catalogue.LIMIT_PER_MINUTE.name
    configured = over_replicas(
        catalogue.LIMIT_PER_MINUTE, f'{name}{{source="configured"}}', catalogue.DEGRADED.name, by
    )
    return Alert(
        name="TidegateLimitMismatch",
        severity=severity,
        expr=f'{configured}\n  / max by ({by}) ({name}{{source="upstream"}}) {comparison}',
        for_seconds=900,
        summary=f"A configured limit is {text} than the upstream's.",
        description=(
            "The configured limit of pool {{ $labels.pool }} for {{ $labels.dimension }} is "
            "{{ $value | humanizePercentage }} of the limit that the upstream reports."
        ),
        dashboard=LIMITER,
        by=("pool",),
    )


def _limit_fell() -> Alert:
    def limit(source: str) -> str:
        return f'{catalogue.LIMIT_PER_MINUTE.name}{{source="{source}"}}'

    now, past = duration(thresholds.LIMIT_FELL_WINDOW_SECONDS), duration(thresholds.LIMIT_FELL_BASELINE_SECONDS)
    by = "max by (job, pool, dimension)"
    return Alert(
        name="TidegateLimitFell",
        severity="warning",
        expr=(
            f"{by} (avg_over_time({limit('effective')}[{now}]))\n"
            f"  / {by} (quantile_over_time(0.5, {limit('effective')}[{past}] offset {now}))"
            f" < {thresholds.LIMIT_FELL_SHARE}\n"
            # A lower configured limit is intended.
            f"unless {by} ({limit('configured')}) < {by} (max_over_time({limit('configured')}[{past}]))\n"
            # The search for a limit moves only while calls are sent.
            f"and sum by (job, pool, dimension) (increase({catalogue.QUOTA_CHARGED.name}[{now}])) > 0"
        ),
        for_seconds=300,
        keep_firing_seconds=300,
        summary="A limit of the upstream fell.",
        description=(
            "The limit of pool {{ $labels.pool }} for {{ $labels.dimension }} is {{ $value | humanizePercentage }} of "
            f"its median of the last {past}: the upstream lowered it, or others use the same quota."
        ),
        dashboard=LIMITER,
        by=("pool",),
    )


LIMITS: Final = Group(
    "tidegate-limits",
    (
        _rate_limit_spike(),
        Alert(
            name="TidegatePoolFrozen",
            severity="warning",
            expr=(
                f"max by (job, pool) (avg_over_time({catalogue.POOL_FROZEN.name}"
                f"[{duration(thresholds.POOL_FROZEN_WINDOW_SECONDS)}])) > {thresholds.POOL_FROZEN_SHARE}"
            ),
            for_seconds=300,
            keep_firing_seconds=300,
            summary="A pool is closed most of the time because of 429s.",
            description=(
                "429s closed pool {{ $labels.pool }} for {{ $value | humanizePercentage }} of the last "
                f"{duration(thresholds.POOL_FROZEN_WINDOW_SECONDS)}."
            ),
            dashboard=LIMITER,
            by=("pool",),
        ),
        Alert(
            name="TidegateAdaptiveRateLow",
            severity="warning",
            expr=(
                f"max by (job, pool) ({catalogue.ADAPTIVE_FACTOR.name}) < {thresholds.ADAPTIVE_FACTOR_LOW}\n"
                # An unused pool has no successes to recover its rate, and needs none.
                "and sum by (job, pool) (increase("
                f"{catalogue.QUEUE_WAIT.name}_count[{duration(thresholds.ADAPTIVE_FACTOR_LOW_SECONDS)}])) > 0"
            ),
            for_seconds=thresholds.ADAPTIVE_FACTOR_LOW_SECONDS,
            summary="A pool's rate has been reduced for a long time.",
            description=(
                "Pool {{ $labels.pool }} runs at {{ $value | humanizePercentage }} of its full rate after 429s and "
                "has not recovered."
            ),
            dashboard=LIMITER,
            by=("pool",),
        ),
        _limit_fell(),
        _limit_mismatch("warning", f"> {1 + thresholds.LIMIT_MISMATCH_SHARE}", "higher"),
        _limit_mismatch("info", f"< {1 - thresholds.LIMIT_MISMATCH_SHARE}", "lower"),
        Alert(
            name="TidegateQuotaRunsOut",
            severity="warning",
            expr=(
                f"predict_linear({QUOTA_USED}[{duration(thresholds.QUOTA_TREND_SECONDS)}], "
                f"{thresholds.QUOTA_AHEAD_SECONDS}) > {thresholds.QUOTA_USED_RUNS_OUT:g}\n"
                f"and {QUOTA_USED} > {thresholds.QUOTA_USED_RISKY}"
            ),
            for_seconds=600,
            keep_firing_seconds=300,
            summary="Use will soon reach the upstream's limit.",
            description=(
                f"If use grows as in the last {duration(thresholds.QUOTA_TREND_SECONDS)}, pool {{{{ $labels.pool }}}} "
                "will need {{ $value | humanizePercentage }} of its limit for {{ $labels.dimension }} in "
                f"{thresholds.QUOTA_AHEAD_SECONDS // 60} minutes."
            ),
            dashboard=LIMITER,
            by=("pool",),
        ),
        Alert(
            name="TidegateQuotaUnusedWhileWaiting",
            severity="warning",
            expr=(
                f"max by (job, pool) (avg_over_time({QUOTA_USED}[{_UNUSED}])) < {thresholds.QUOTA_UNUSED_SHARE}\n"
                f"and sum by (job, pool) (min_over_time({QUEUE_DEPTH}[{_UNUSED}])) > 0"
            ),
            for_seconds=300,
            keep_firing_seconds=300,
            summary="Calls wait although quota is unused.",
            description=(
                "Pool {{ $labels.pool }} used at most {{ $value | humanizePercentage }} of its quota in any dimension "
                f"in the last {_UNUSED}, while calls waited all the time."
            ),
            dashboard=LIMITER,
            by=("pool",),
        ),
        _queue_wait_high(),
        Alert(
            name="TidegateQueueGrowing",
            severity="warning",
            expr=(
                f"sum by (job, pool) (deriv({QUEUE_DEPTH}[{_GROWTH}])) * 60 > {thresholds.QUEUE_GROWTH_PER_MINUTE:g}\n"
                f"and sum by (job, pool) ({QUEUE_DEPTH}) >= {thresholds.QUEUE_GROWING_DEPTH}"
            ),
            for_seconds=300,
            keep_firing_seconds=300,
            summary="A queue grows faster than it is served.",
            description=(
                "The queue of pool {{ $labels.pool }} has grown by "
                f'{{{{ $value | printf "%.1f" }}}} calls per minute for {_GROWTH}.'
            ),
            dashboard=LIMITER,
            by=("pool",),
        ),
        Alert(
            name="TidegateClassStarved",
            severity="warning",
            expr=(
                f"min_over_time({QUEUE_DEPTH}[{_STARVED}]) > 0\n"
                f"unless sum by (job, pool, class) (increase({catalogue.QUEUE_WAIT.name}_count[{_STARVED}])) > 0\n"
                f"and on (job, pool) sum by (job, pool) (increase({catalogue.QUEUE_WAIT.name}_count[{_STARVED}])) > 0"
            ),
            for_seconds=60,
            keep_firing_seconds=300,
            summary="A priority class is starved.",
            description=(
                "At least {{ $value }} calls of class {{ $labels.class }} have waited for pool {{ $labels.pool }} for "
                f"{_STARVED}. None was admitted, while calls of other classes were."
            ),
            dashboard=LIMITER,
            by=("pool",),
        ),
        Alert(
            name="TidegateRefusals",
            severity="warning",
            expr=(
                f"{_REFUSALS} (increase({_REFUSED}[{_REFUSED_WINDOW}]))\n"
                f"  / on (job) group_left () sum by (job) (increase({catalogue.REQUESTS.name}[{_REFUSED_WINDOW}]))"
                f" > {thresholds.REFUSED_SHARE}\n"
                f"and {_REFUSALS} (increase({_REFUSED}[{_REFUSED_WINDOW}])) >= {thresholds.REFUSED_LEAST}\n"
                f"and {_REFUSALS} (increase({_REFUSED}[{duration(thresholds.REFUSED_RECENT_SECONDS)}])) > 0"
            ),
            for_seconds=120,
            keep_firing_seconds=300,
            summary="Tidegate refuses many calls.",
            description=(
                "{{ $value | humanizePercentage }} of all calls in the last "
                f"{_REFUSED_WINDOW} were refused by pool {{{{ $labels.pool }}}} with cause {{{{ $labels.cause }}}}."
                + _TOP_REFUSED.template(' Most often: {{ .Labels.caller }} ({{ .Value | printf "%.0f" }} times).')
            ),
            dashboard=CALLERS,
            by=("pool",),
            top=_TOP_REFUSED,
        ),
    ),
)
"""All alerts on limits, quota, queue and refusals."""
