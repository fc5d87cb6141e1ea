"""Alerts on responses of the upstream: rejected keys, missing models, slow, late and implausible ones."""

from typing import Final

from tidegate.monitoring.dashboards.links import MODELS
from tidegate.monitoring.rules.rule import Alert, TopContributor, duration, enough_above, frequent, quantile
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["RESPONSES", "frequent_attempts"]

_ATTEMPTS: Final = catalogue.UPSTREAM_ATTEMPTS.name
_REJECTED: Final = 'status=~"401|403"'
_OWN_MODELS: Final = 'model!~"none|other"'
"""Models that have answered, or are configured. The others are names that clients chose, and may have invented."""
_SECONDS: Final = thresholds.UPSTREAM_WINDOW_SECONDS
_WINDOW: Final = duration(_SECONDS)
_BY_MODEL: Final = "job, pool, model"
_A_MODEL: Final = 'model!="none"'
_TOP_STATUS: Final = TopContributor(
    "status", f"increase({_ATTEMPTS}{{job=%q,pool=%q,{_REJECTED}}}[{_WINDOW}])", ("job", "pool")
)

_TOKENS_PER_SECOND: Final = (
    f'sum by ({_BY_MODEL}) (increase({catalogue.TOKENS.name}{{kind="output"}}[{_WINDOW}]))\n'
    f"  / sum by ({_BY_MODEL}) (increase({catalogue.UPSTREAM_DURATION.name}_sum[{_WINDOW}]))"
)
_LONG_RESPONSES: Final = enough_above(
    catalogue.UPSTREAM_DURATION,
    thresholds.RESPONSE_P50_SECONDS,
    thresholds.UPSTREAM_LEAST,
    _SECONDS,
    _BY_MODEL,
)


def frequent_attempts(
    matchers: str, least_share: float, *, least: int = thresholds.UPSTREAM_LEAST, among: str = "", by: str = "job, pool"
) -> str:
    """Condition: attempts with these labels exceed a share of all attempts, or of those with the labels `among`."""
    return frequent(
        f"{_ATTEMPTS}{{{matchers},{among}}}" if among else f"{_ATTEMPTS}{{{matchers}}}",
        f"{_ATTEMPTS}{{{among}}}" if among else _ATTEMPTS,
        least_share,
        least=least,
        window_seconds=_SECONDS,
        recent_seconds=thresholds.UPSTREAM_RECENT_SECONDS,
        by=by,
    )


def _hanging(severity: str, least_share: float) -> Alert:
    return Alert(
        name="TidegateUpstreamHangs",
        severity=severity,
        expr=frequent_attempts('status="deadline"', least_share),
        for_seconds=120,
        keep_firing_seconds=300,
        summary="Calls end by their own deadlines before the upstream responds.",
        description=(
            "{{ $value | humanizePercentage }} of the attempts in pool {{ $labels.pool }} had no response before the "
            f"deadline of their call in the last {_WINDOW} (threshold: {least_share:.0%})."
        ),
        dashboard=MODELS,
        by=("pool",),
    )


RESPONSES: Final = (
    Alert(
        name="TidegateKeyRejected",
        severity="critical",
        expr=frequent_attempts(_REJECTED, thresholds.KEY_REJECTED_SHARE, least=thresholds.KEY_REJECTED_LEAST),
        for_seconds=60,
        keep_firing_seconds=300,
        summary="The upstream rejects the API key of the service.",
        description=(
            "{{ $value | humanizePercentage }} of the attempts in pool {{ $labels.pool }} were rejected in the last "
            f"{_WINDOW}: the service's key is revoked, wrong, or lacks a permission."
            + _TOP_STATUS.template(' Status {{ .Labels.status }}: {{ .Value | printf "%.0f" }} times.')
        ),
        dashboard=MODELS,
        by=("pool",),
    ),
    Alert(
        name="TidegateModelNotFound",
        severity="critical",
        expr=frequent_attempts('status="404"', thresholds.MODEL_NOT_FOUND_SHARE, among=_OWN_MODELS, by=_BY_MODEL),
        for_seconds=60,
        keep_firing_seconds=300,
        summary="The upstream no longer has a model.",
        description=(
            "{{ $value | humanizePercentage }} of the attempts for {{ $labels.model }} got a 404 in the last "
            f"{_WINDOW}: the model was retired or renamed, or the service's key may not use it."
        ),
        dashboard=MODELS,
        by=("pool", "model"),
    ),
    Alert(
        name="TidegateResponsesSlow",
        severity="warning",
        expr=(
            f"{quantile(0.5, catalogue.UPSTREAM_DURATION, _BY_MODEL, _WINDOW, _A_MODEL)}"
            f" > {thresholds.RESPONSE_P50_SECONDS:g}\n"
            f"unless {_TOKENS_PER_SECOND} >= {thresholds.RESPONSE_TOKENS_PER_SECOND:g}\n"
            f"and {_LONG_RESPONSES}"
        ),
        for_seconds=300,
        keep_firing_seconds=300,
        summary="Responses of the upstream take long for their length.",
        description=(
            "Half of the responses of {{ $labels.model }} take {{ $value | humanizeDuration }} or longer, at less than "
            f"{thresholds.RESPONSE_TOKENS_PER_SECOND:g} output tokens per second."
        ),
        dashboard=MODELS,
        by=("pool", "model"),
    ),
    _hanging("warning", thresholds.HANGING_SHARE_WARNING),
    _hanging("critical", thresholds.HANGING_SHARE_CRITICAL),
    Alert(
        name="TidegateAnomalies",
        severity="warning",
        expr=(
            # Many proxies remove the limit headers: that is how they are, and not a fault.
            f'sum by (job, kind) (increase({catalogue.ANOMALIES.name}{{kind!="limits_missing"}}[{_WINDOW}]))'
            f" >= {thresholds.ANOMALIES_LEAST}"
        ),
        for_seconds=0,
        keep_firing_seconds=600,
        summary="Tidegate receives implausible values.",
        description=(
            '{{ $value | printf "%.0f" }} implausible values of kind {{ $labels.kind }} were bounded in the last '
            f"{_WINDOW}. Cost, usage or limits may be shown too low; the log names the pool."
        ),
        dashboard=MODELS,
    ),
)
"""The alerts, for the group of the upstream."""
