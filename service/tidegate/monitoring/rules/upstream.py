"""Alerts on the upstream and on what it costs: is it Claude, and is it the money?"""

from typing import Final

from tidegate.monitoring.dashboards.links import CALLERS, MODELS
from tidegate.monitoring.rules.recording import SPEND_PER_HOUR
from tidegate.monitoring.rules.rule import Alert, Group, Most, beyond, duration, share
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["UPSTREAM"]

_WINDOW: Final = duration(thresholds.UPSTREAM_WINDOW_SECONDS)
_RECENT: Final = duration(thresholds.UPSTREAM_RECENT_SECONDS)
_BASELINE: Final = duration(thresholds.SPEND_BASELINE_SECONDS)
_SPEND_WINDOW: Final = duration(thresholds.SPEND_WINDOW_SECONDS)
_DEAREST: Final = Most("caller", f"increase({catalogue.COST_USD.name}{{job=%q}}[{_SPEND_WINDOW}])", ("job",))

_SLOW_STREAMS: Final = beyond(
    catalogue.TIME_TO_FIRST_TOKEN,
    thresholds.FIRST_TOKEN_P95_SECONDS,
    thresholds.UPSTREAM_LEAST,
    thresholds.UPSTREAM_WINDOW_SECONDS,
    "job, pool, model",
)


def _failing(name: str, statuses: str, severity: str, least_share: float, *, summary: str, what: str) -> Alert:
    """An alert on the share of attempts with these statuses."""
    failures = f"{catalogue.UPSTREAM_ATTEMPTS.name}{{{statuses}}}"
    by = "job, pool"
    return Alert(
        name=name,
        severity=severity,
        expr=(
            f"{share(failures, catalogue.UPSTREAM_ATTEMPTS.name, thresholds.UPSTREAM_WINDOW_SECONDS, by)}"
            f" > {least_share}\n"
            f"and sum by ({by}) (increase({failures}[{_WINDOW}])) >= {thresholds.UPSTREAM_LEAST}\n"
            f"and sum by ({by}) (increase({failures}[{_RECENT}])) > 0"
        ),
        for_seconds=120,
        keep_firing_seconds=300,
        summary=summary,
        description=(
            "{{ $value | humanizePercentage }} of the attempts of pool {{ $labels.pool }} in the last "
            f"{_WINDOW} {what}; more than {least_share:.0%} is too many."
        ),
        dashboard=MODELS,
        by=("pool",),
    )


def _overloaded(severity: str, least_share: float) -> Alert:
    return _failing(
        "TidegateUpstreamOverloaded",
        'status="529"',
        severity,
        least_share,
        summary="The upstream is overloaded.",
        what="were answered with 529",
    )


def _errors(severity: str, least_share: float) -> Alert:
    return _failing(
        "TidegateUpstreamErrors",
        'status=~"5..|error",status!="529"',
        severity,
        least_share,
        summary="The upstream fails.",
        what="were answered with a server error other than 529, or not at all",
    )


UPSTREAM: Final = Group(
    "tidegate-upstream",
    (
        _overloaded("warning", thresholds.OVERLOADED_SHARE_WARNING),
        _overloaded("critical", thresholds.OVERLOADED_SHARE_CRITICAL),
        _errors("warning", thresholds.UPSTREAM_ERROR_SHARE_WARNING),
        _errors("critical", thresholds.UPSTREAM_ERROR_SHARE_CRITICAL),
        Alert(
            name="TidegateUpstreamSlow",
            severity="warning",
            expr=(
                "histogram_quantile(\n  0.95,\n  sum by (job, pool, model, le) "
                f"(rate({catalogue.TIME_TO_FIRST_TOKEN.name}_bucket[{_WINDOW}]))\n)"
                f" > {thresholds.FIRST_TOKEN_P95_SECONDS:g}\n"
                f"and {_SLOW_STREAMS}"
            ),
            for_seconds=300,
            keep_firing_seconds=300,
            summary="Streams of the upstream begin late.",
            description=(
                "One stream in twenty of {{ $labels.model }} begins {{ $value | humanizeDuration }} or later after "
                f"it was asked for; more than {thresholds.FIRST_TOKEN_P95_SECONDS:g} s is too long."
            ),
            dashboard=MODELS,
            by=("pool", "model"),
        ),
        Alert(
            name="TidegateSpendCapReached",
            severity="critical",
            expr=(
                f"sum by (job) (increase({catalogue.SPEND_CAPPED.name}[{_WINDOW}])) > 0\n"
                f'or max by (job) ({catalogue.CIRCUIT_OPEN.name}{{cause="spend_cap"}}) > 0'
            ),
            for_seconds=0,
            keep_firing_seconds=600,
            summary="The upstream refuses calls because a spend cap is reached.",
            description=(
                "The upstream refuses every call because a spend cap is reached, until it is raised or the month ends. "
                "Tidegate refuses them itself meanwhile, and looks now and then if that has changed."
            ),
            dashboard=MODELS,
        ),
        Alert(
            name="TidegateSpendUnusual",
            severity="warning",
            expr=(
                f"{SPEND_PER_HOUR} > {thresholds.SPEND_UNUSUAL_FACTOR:g}"
                f" * avg_over_time({SPEND_PER_HOUR}[{_BASELINE}] offset {_SPEND_WINDOW})\n"
                f"and {SPEND_PER_HOUR} > {thresholds.SPEND_UNUSUAL_LEAST_USD_PER_HOUR:g}\n"
                f"unless {SPEND_PER_HOUR} <= {thresholds.SPEND_UNUSUAL_FACTOR:g}"
                f" * ({SPEND_PER_HOUR} offset {duration(thresholds.SPEND_WEEK_SECONDS)})"
            ),
            for_seconds=600,
            keep_firing_seconds=600,
            summary="Far more money is spent than in the day before, or a week ago.",
            description=(
                '{{ $value | printf "%.2f" }} US dollars were spent in the last '
                f"{_SPEND_WINDOW}: more than {thresholds.SPEND_UNUSUAL_FACTOR:g} times the usual hour of the last day,"
                " and of this hour a week ago."
                + _DEAREST.template(' Most by {{ .Labels.caller }}: {{ .Value | printf "%.2f" }}.')
            ),
            dashboard=CALLERS,
            most=_DEAREST,
        ),
        Alert(
            name="TidegateUnpricedModel",
            severity="warning",
            expr=f"sum by (job, model) ({catalogue.UNPRICED_TOKENS.name}) > 0",
            for_seconds=60,
            summary="A model is used whose price is not known.",
            description=(
                "{{ $labels.model }} has used {{ $value | humanize }} tokens since the service started; no price "
                "is known for it, so that the cost shown is too low."
            ),
            dashboard=MODELS,
            by=("model",),
        ),
        Alert(
            name="TidegateUpstreamIsSimulator",
            severity="warning",
            expr=f'max by (job) ({catalogue.BUILD_INFO.name}{{upstream="simulator"}}) == 1',
            for_seconds=300,
            summary="The service answers with a simulator instead of Claude.",
            description="Job {{ $labels.job }} has the built-in simulator as upstream: every answer is invented.",
            dashboard=MODELS,
        ),
    ),
)
"""All of them; warning and critical of one fault stand together."""
