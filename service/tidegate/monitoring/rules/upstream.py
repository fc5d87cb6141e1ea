"""Alerts on the upstream and on cost."""

from typing import Final

from tidegate.monitoring.dashboards.links import CALLERS, MODELS
from tidegate.monitoring.rules.recording import QUEUE_DEPTH, SPEND_PER_HOUR
from tidegate.monitoring.rules.responses import RESPONSES, frequent_attempts
from tidegate.monitoring.rules.rule import Alert, Group, TopContributor, duration, enough_above, quantile
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["UPSTREAM"]

_WINDOW: Final = duration(thresholds.UPSTREAM_WINDOW_SECONDS)

_BASELINE: Final = duration(thresholds.SPEND_BASELINE_SECONDS)
_SPEND_WINDOW: Final = duration(thresholds.SPEND_WINDOW_SECONDS)
_TOP_SPENDER: Final = TopContributor(
    "caller", f"increase({catalogue.COST_USD.name}{{job=%q}}[{_SPEND_WINDOW}])", ("job",)
)

_SLOW_STREAMS: Final = enough_above(
    catalogue.TIME_TO_FIRST_TOKEN,
    thresholds.FIRST_TOKEN_P95_SECONDS,
    thresholds.UPSTREAM_LEAST,
    thresholds.UPSTREAM_WINDOW_SECONDS,
    "job, pool, model",
)


_FELT: Final = (
    f"\nand (sum by (job, pool) (increase({catalogue.FAILED_CALLS.name}[{_WINDOW}])) > 0"
    f" or sum by (job, pool) ({QUEUE_DEPTH}) > 0)"
)
"""Somebody notices: calls of the pool fail, or wait."""


def _failing(name: str, statuses: str, severity: str, least_share: float, *, summary: str, got: str) -> Alert:
    """An alert on the share of attempts with these statuses. It pages only if calls fail or wait because of it."""
    return Alert(
        name=name,
        severity=severity,
        expr=frequent_attempts(statuses, least_share) + (_FELT if severity == "critical" else ""),
        for_seconds=120,
        keep_firing_seconds=300,
        summary=summary,
        description=(
            f"{{{{ $value | humanizePercentage }}}} of the attempts in pool {{{{ $labels.pool }}}} got {got} in the "
            f"last {_WINDOW} (threshold: {least_share:.0%})."
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
        got="a 529",
    )


def _errors(severity: str, least_share: float) -> Alert:
    return _failing(
        "TidegateUpstreamErrors",
        'status=~"5..|error",status!="529"',
        severity,
        least_share,
        summary="The upstream fails.",
        got="a server error other than 529, or no response,",
    )


UPSTREAM: Final = Group(
    "tidegate-upstream",
    (
        _overloaded("warning", thresholds.OVERLOADED_SHARE_WARNING),
        _overloaded("critical", thresholds.OVERLOADED_SHARE_CRITICAL),
        _errors("warning", thresholds.UPSTREAM_ERROR_SHARE_WARNING),
        _errors("critical", thresholds.UPSTREAM_ERROR_SHARE_CRITICAL),
        *RESPONSES,
        Alert(
            name="TidegateUpstreamSlow",
            severity="warning",
            expr=(
                f"{quantile(0.95, catalogue.TIME_TO_FIRST_TOKEN, 'job, pool, model', _WINDOW)}"
                f" > {thresholds.FIRST_TOKEN_P95_SECONDS:g}\n"
                f"and {_SLOW_STREAMS}"
            ),
            for_seconds=300,
            keep_firing_seconds=300,
            summary="Streams of the upstream start late.",
            description=(
                "5% of the streams of {{ $labels.model }} start {{ $value | humanizeDuration }} or later after the "
                f"request (threshold: {thresholds.FIRST_TOKEN_P95_SECONDS:g} s)."
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
            summary="A spend cap of the upstream is reached.",
            description=(
                "The upstream refuses all calls until the spend cap is raised or the month ends. Meanwhile Tidegate "
                "refuses them itself, and probes the upstream at least every 15 minutes."
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
            summary="Spend is unusually high.",
            description=(
                '{{ $value | printf "%.2f" }} US dollars were spent in the last '
                f"{_SPEND_WINDOW}: more than {thresholds.SPEND_UNUSUAL_FACTOR:g} times the average hour of the last "
                "day, and of the same hour a week ago."
                + _TOP_SPENDER.template(' Most by {{ .Labels.caller }}: {{ .Value | printf "%.2f" }}.')
            ),
            dashboard=CALLERS,
            top=_TOP_SPENDER,
        ),
        Alert(
            name="TidegateUnpricedModel",
            severity="warning",
            expr=f"sum by (job, model) ({catalogue.UNPRICED_TOKENS.name}) > 0",
            for_seconds=60,
            summary="A model without a known price is used.",
            description=(
                "{{ $labels.model }} has used {{ $value | humanize }} tokens since the service started. "
                "It has no known price, so the reported cost is too low."
            ),
            dashboard=MODELS,
            by=("model",),
        ),
        Alert(
            name="TidegateUpstreamIsSimulator",
            severity="warning",
            expr=f'max by (job) ({catalogue.BUILD_INFO.name}{{upstream="simulator"}}) == 1',
            for_seconds=300,
            summary="The upstream is a simulator.",
            description="Job {{ $labels.job }} uses the built-in simulator as upstream: every response is invented.",
            dashboard=MODELS,
        ),
    ),
)
"""All alerts on the upstream and on cost."""
