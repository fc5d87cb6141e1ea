"""Alerts on limits, quota and queue: does what we may use suffice, and do we know how much it is?"""

from typing import Final

from tidegate.monitoring.dashboards.links import CALLERS, LIMITER
from tidegate.monitoring.rules.recording import QUEUE_DEPTH, QUEUE_WAIT_P95, QUOTA_USED
from tidegate.monitoring.rules.rule import Alert, Group, Most, beyond, duration, share
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["LIMITS"]

_LIMITED: Final = catalogue.RATE_LIMITED.name
_RATE_WINDOW: Final = duration(thresholds.RATE_LIMITED_WINDOW_SECONDS)
_RECENT: Final = duration(thresholds.RATE_LIMITED_RECENT_SECONDS)
_STARVED: Final = duration(thresholds.STARVED_WINDOW_SECONDS)
_WAIT_SECONDS: Final = thresholds.QUEUE_WAIT_WINDOW_SECONDS
_GROWTH: Final = duration(thresholds.QUEUE_GROWTH_WINDOW_SECONDS)
_UNUSED: Final = duration(thresholds.QUOTA_UNUSED_WINDOW_SECONDS)
_REFUSED: Final = catalogue.REFUSED.name
_REFUSED_WINDOW: Final = duration(thresholds.REFUSED_WINDOW_SECONDS)
_BINDING: Final = Most("dimension", f"increase({_LIMITED}{{job=%q,pool=%q}}[{_RATE_WINDOW}])", ("job", "pool"))
_MOST_REFUSED: Final = Most("caller", f"increase({_REFUSED}{{job=%q,cause=%q}}[{_REFUSED_WINDOW}])", ("job", "cause"))


def _rate_limit_spike(severity: str, least_share: float, for_seconds: int) -> Alert:
    attempts = catalogue.UPSTREAM_ATTEMPTS.name
    return Alert(
        name="TidegateRateLimitSpike",
        severity=severity,
        expr=(
            f"{share(_LIMITED, attempts, thresholds.RATE_LIMITED_WINDOW_SECONDS, 'job, pool')} > {least_share}\n"
            f"and sum by (job, pool) (increase({_LIMITED}[{_RATE_WINDOW}])) >= {thresholds.RATE_LIMITED_LEAST}\n"
            f"and sum by (job, pool) (increase({_LIMITED}[{_RECENT}])) > 0"
        ),
        for_seconds=for_seconds,
        keep_firing_seconds=300,
        summary="The upstream answers many attempts of a pool with 429.",
        description=(
            "{{ $value | humanizePercentage }} of the attempts of pool {{ $labels.pool }} in the last "
            f"{_RATE_WINDOW} were answered with 429; more than {least_share:.0%} is too many."
            + _BINDING.template(' The limit that binds: {{ .Labels.dimension }} ({{ .Value | printf "%.0f" }} times).')
        ),
        dashboard=LIMITER,
        by=("pool",),
    )


def _queue_wait_high(severity: str, seconds: float) -> Alert:
    by = "job, pool, class"
    return Alert(
        name="TidegateQueueWaitHigh",
        severity=severity,
        expr=(
            f'{QUEUE_WAIT_P95}{{class!="batch"}} > {seconds:g}\n'
            f"and {beyond(catalogue.QUEUE_WAIT, seconds, thresholds.QUEUE_WAIT_LEAST, _WAIT_SECONDS, by)}"
        ),
        for_seconds=300,
        keep_firing_seconds=300,
        summary="Calls wait long for quota.",
        description=(
            "One call in twenty of class {{ $labels.class }} waits {{ $value | humanizeDuration }} or longer for quota "
            f"of pool {{{{ $labels.pool }}}}; more than {seconds:g} s is too long."
        ),
        dashboard=LIMITER,
        by=("pool",),
    )


def _limit_mismatch(severity: str, comparison: str, text: str) -> Alert:
    limit = f"max by (job, pool, dimension) ({catalogue.LIMIT_PER_MINUTE.name}{{source=%r}})".replace("%r", '"%s"')
    return Alert(
        name="TidegateLimitMismatch",
        severity=severity,
        expr=f"{limit % 'configured'}\n  / {limit % 'upstream'} {comparison}",
        for_seconds=900,
        summary=f"A configured limit is {text} than what the upstream reports.",
        description=(
            "The configured limit of pool {{ $labels.pool }} for {{ $labels.dimension }} is "
            "{{ $value | humanizePercentage }} of the limit that the upstream reports."
        ),
        dashboard=LIMITER,
        by=("pool",),
    )


LIMITS: Final = Group(
    "tidegate-limits",
    (
        _rate_limit_spike("warning", thresholds.RATE_LIMITED_SHARE_WARNING, 120),
        _rate_limit_spike("critical", thresholds.RATE_LIMITED_SHARE_CRITICAL, 300),
        Alert(
            name="TidegatePoolFrozen",
            severity="warning",
            expr=(
                f"max by (job, pool) (avg_over_time({catalogue.POOL_FROZEN.name}"
                f"[{duration(thresholds.POOL_FROZEN_WINDOW_SECONDS)}])) > {thresholds.POOL_FROZEN_SHARE}"
            ),
            for_seconds=300,
            summary="429s keep a pool closed most of the time.",
            description=(
                "Pool {{ $labels.pool }} was closed for {{ $value | humanizePercentage }} of the last "
                f"{duration(thresholds.POOL_FROZEN_WINDOW_SECONDS)}, because the upstream asked to wait."
            ),
            dashboard=LIMITER,
            by=("pool",),
        ),
        Alert(
            name="TidegateAdaptiveRateLow",
            severity="warning",
            expr=(
                f"max by (job, pool) ({catalogue.ADAPTIVE_FACTOR.name}) < {thresholds.ADAPTIVE_FACTOR_LOW}\n"
                # A pool that nobody uses has no successes that would win the rate back, and nobody misses it.
                "and sum by (job, pool) (increase("
                f"{catalogue.QUEUE_WAIT.name}_count[{duration(thresholds.ADAPTIVE_FACTOR_LOW_SECONDS)}])) > 0"
            ),
            for_seconds=thresholds.ADAPTIVE_FACTOR_LOW_SECONDS,
            summary="A pool has been working at a reduced rate for long.",
            description=(
                "Pool {{ $labels.pool }} works at {{ $value | humanizePercentage }} of its full rate, because of 429s; "
                "successes have not won the rest back."
            ),
            dashboard=LIMITER,
            by=("pool",),
        ),
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
            summary="At its present growth, use will soon reach the upstream's limit.",
            description=(
                f"In {thresholds.QUOTA_AHEAD_SECONDS // 60} minutes pool {{{{ $labels.pool }}}} will need "
                "{{ $value | humanizePercentage }} of its limit for {{ $labels.dimension }}, "
                f"if use grows as in the last {duration(thresholds.QUOTA_TREND_SECONDS)}."
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
            summary="Callers wait although the paid quota is not used.",
            description=(
                "Of the quota of pool {{ $labels.pool }}, at most {{ $value | humanizePercentage }} in any dimension "
                f"was used in the last {_UNUSED}, and callers waited all the time."
            ),
            dashboard=LIMITER,
            by=("pool",),
        ),
        _queue_wait_high("warning", thresholds.QUEUE_WAIT_P95_WARNING_SECONDS),
        _queue_wait_high("critical", thresholds.QUEUE_WAIT_P95_CRITICAL_SECONDS),
        Alert(
            name="TidegateQueueGrowing",
            severity="warning",
            expr=(
                f"sum by (job, pool) (deriv({QUEUE_DEPTH}[{_GROWTH}])) * 60 > {thresholds.QUEUE_GROWTH_PER_MINUTE:g}\n"
                f"and sum by (job, pool) ({QUEUE_DEPTH}) >= {thresholds.QUEUE_GROWING_DEPTH}"
            ),
            for_seconds=300,
            summary="A queue grows faster than it is served.",
            description=(
                'Every minute {{ $value | printf "%.1f" }} more calls join the queue of pool {{ $labels.pool }} than '
                f"leave it, for {_GROWTH} now."
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
            summary="Calls of one class wait and none is admitted, while other classes are.",
            description=(
                "{{ $value }} or more calls of class {{ $labels.class }} have been waiting for pool {{ $labels.pool }} "
                f"for {_STARVED}; none was admitted, those of other classes were."
            ),
            dashboard=LIMITER,
            by=("pool",),
        ),
        Alert(
            name="TidegateRefusals",
            severity="warning",
            expr=(
                f"sum by (job, cause) (increase({_REFUSED}[{_REFUSED_WINDOW}]))\n"
                f"  / on (job) group_left () sum by (job) (increase({catalogue.REQUESTS.name}[{_REFUSED_WINDOW}]))"
                f" > {thresholds.REFUSED_SHARE}\n"
                f"and sum by (job, cause) (increase({_REFUSED}[{_REFUSED_WINDOW}])) >= {thresholds.REFUSED_LEAST}\n"
                f"and sum by (job, cause) (increase({_REFUSED}[{duration(thresholds.REFUSED_RECENT_SECONDS)}])) > 0"
            ),
            for_seconds=120,
            keep_firing_seconds=300,
            summary="Tidegate refuses many calls.",
            description=(
                "{{ $value | humanizePercentage }} of all calls in the last "
                f"{_REFUSED_WINDOW} were refused, for the cause {{{{ $labels.cause }}}}."
                + _MOST_REFUSED.template(' Most often: {{ .Labels.caller }} ({{ .Value | printf "%.0f" }} times).')
            ),
            dashboard=CALLERS,
            most=_MOST_REFUSED,
        ),
    ),
)
"""All of them; warning and critical of one fault stand together."""
