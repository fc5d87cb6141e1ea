"""Alerts on the service itself."""

from typing import Final

from tidegate.monitoring.dashboards.links import LIMITER, OVERVIEW
from tidegate.monitoring.rules.rule import Alert, Group, duration, enough_above, quantile
from tidegate.monitoring.rules.upkeep import UPKEEP
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["service"]

_WINDOW: Final = duration(thresholds.SERVICE_WINDOW_SECONDS)
_ESTIMATE_WINDOW: Final = duration(thresholds.ESTIMATE_WINDOW_SECONDS)
_SILENCE: Final = duration(thresholds.NO_TRAFFIC_WINDOW_SECONDS)

_SLOW_CALLS: Final = enough_above(
    catalogue.OVERHEAD,
    thresholds.OVERHEAD_P99_SECONDS,
    thresholds.OVERHEAD_LEAST,
    thresholds.SERVICE_WINDOW_SECONDS,
    "job, route",
)


def _estimate_drift(severity: str, comparison: str, text: str) -> Alert:
    ratio = catalogue.ESTIMATE_ERROR.name
    by = "job, pool, dimension"
    return Alert(
        name="TidegateEstimateDrift",
        severity=severity,
        expr=(
            f"{quantile(0.5, catalogue.ESTIMATE_ERROR, by, _ESTIMATE_WINDOW)} {comparison}\n"
            f"and sum by ({by}) (increase({ratio}_count[{_ESTIMATE_WINDOW}])) >= {thresholds.ESTIMATE_LEAST}"
        ),
        for_seconds=900,
        summary=f"Calls use {text} than their reservations.",
        description=(
            "Half of the calls in pool {{ $labels.pool }} reserved at most "
            '{{ $value | printf "%.2g" }} times the {{ $labels.dimension }} that they used.'
        ),
        dashboard=LIMITER,
        by=("pool",),
    )


def _no_traffic() -> Alert:
    requests = catalogue.REQUESTS.name

    def calls(window: str, offset: str) -> str:
        return f"sum by (job) (increase({requests}[{window}] offset {offset})) >= {thresholds.NO_TRAFFIC_BEFORE_LEAST}"

    return Alert(
        name="TidegateNoTraffic",
        severity="warning",
        expr=(
            f"sum by (job) (increase({requests}[{_SILENCE}])) == 0\n"
            f"and {calls('1h', _SILENCE)}\n"
            f"and {calls(_SILENCE, '1d')}"
        ),
        for_seconds=0,
        summary="There are no calls.",
        description=(
            f"Job {{{{ $labels.job }}}} has had no calls for {_SILENCE}, although there were some in the hour before "
            "and at this time yesterday."
        ),
        dashboard=OVERVIEW,
    )


def service(job: str) -> Group:
    """All alerts on the service, for this scrape job."""
    up = f'up{{job="{job}"}}'
    return Group(
        "tidegate-service",
        (
            Alert(
                name="TidegateDown",
                severity="warning",
                expr=f"{up} == 0",
                for_seconds=120,
                summary="Prometheus cannot scrape a replica.",
                description="Prometheus cannot scrape {{ $labels.instance }}.",
                dashboard=OVERVIEW,
                by=("instance",),
            ),
            Alert(
                name="TidegateDown",
                severity="critical",
                expr=f"max by (job) ({up}) == 0",
                for_seconds=60,
                summary="Prometheus cannot scrape any replica.",
                description="Prometheus cannot scrape any replica of job {{ $labels.job }}.",
                dashboard=OVERVIEW,
            ),
            Alert(
                name="TidegateMetricsAbsent",
                severity="critical",
                expr=f"absent({up})\nor max by (job) ({up}) == 1 unless on (job) {catalogue.BUILD_INFO.name}",
                for_seconds=600,
                summary="Prometheus has no metrics of Tidegate.",
                description=(
                    "Prometheus has no target for job {{ $labels.job }}, or the target is not Tidegate. "
                    "No other alert can fire."
                ),
                dashboard=OVERVIEW,
            ),
            _no_traffic(),
            Alert(
                name="TidegateRestarts",
                severity="warning",
                expr=(
                    f'changes(process_start_time_seconds{{job="{job}"}}'
                    f"[{duration(thresholds.RESTARTS_WINDOW_SECONDS)}]) >= {thresholds.RESTARTS}"
                ),
                for_seconds=0,
                keep_firing_seconds=600,
                summary="A replica starts again and again.",
                description=(
                    "{{ $labels.instance }} has started {{ $value }} times in the last "
                    f"{duration(thresholds.RESTARTS_WINDOW_SECONDS)}. Each end cuts its calls, which no metric counts."
                ),
                dashboard=OVERVIEW,
                by=("instance",),
            ),
            Alert(
                name="TidegateOverheadHigh",
                severity="warning",
                expr=(
                    f"{quantile(0.99, catalogue.OVERHEAD, 'job, route', _WINDOW)} > {thresholds.OVERHEAD_P99_SECONDS:g}"
                    f"\nand {_SLOW_CALLS}"
                ),
                for_seconds=600,
                keep_firing_seconds=300,
                summary="Tidegate's own overhead is high.",
                description=(
                    "1% of the calls of {{ $labels.route }} spend {{ $value | humanizeDuration }} or more in Tidegate "
                    f"itself (threshold: {thresholds.OVERHEAD_P99_SECONDS * 1000:g} ms)."
                ),
                dashboard=OVERVIEW,
            ),
            Alert(
                name="TidegateEventLoopLag",
                severity="warning",
                expr=(
                    f"{quantile(0.99, catalogue.EVENT_LOOP_LAG, 'job, instance', _WINDOW)}"
                    f" > {thresholds.LOOP_LAG_P99_SECONDS:g}"
                ),
                for_seconds=300,
                keep_firing_seconds=300,
                summary="A replica's event loop lags.",
                description=(
                    "1% of the timers of {{ $labels.instance }} fire {{ $value | humanizeDuration }} or more late, "
                    f"which delays all its calls (threshold: {thresholds.LOOP_LAG_P99_SECONDS * 1000:g} ms)."
                ),
                dashboard=OVERVIEW,
                by=("instance",),
            ),
            Alert(
                name="TidegateLeaseLeak",
                severity="warning",
                expr=f"max by (job, pool) ({catalogue.OLDEST_LEASE.name}) > {thresholds.OLDEST_LEASE_SECONDS}",
                for_seconds=60,
                summary="A lease is older than any call.",
                description=(
                    "The oldest lease of pool {{ $labels.pool }} is {{ $value | humanizeDuration }} old. "
                    "Its reservation is missing from the quota."
                ),
                dashboard=LIMITER,
                by=("pool",),
            ),
            Alert(
                name="TidegateLedgerNotWritten",
                severity="warning",
                expr=(
                    f"max by (job, instance) ({catalogue.LEDGER_UNWRITTEN.name}) > "
                    f"{thresholds.LEDGER_UNWRITTEN_SECONDS}"
                ),
                for_seconds=60,
                keep_firing_seconds=300,
                summary="Usage is not written to the ledger.",
                description=(
                    "The oldest usage of {{ $labels.instance }} that is only in memory is "
                    "{{ $value | humanizeDuration }} old. A restart would lose it."
                ),
                dashboard=OVERVIEW,
                by=("instance",),
            ),
            *UPKEEP,
            _estimate_drift("warning", f"< {thresholds.ESTIMATE_RATIO_LOW:g}", "far more"),
            _estimate_drift("info", f"> {thresholds.ESTIMATE_RATIO_HIGH:g}", "far less"),
            Alert(
                name="Watchdog",
                severity="none",
                expr=f'label_replace(vector(1), "job", "{job}", "", "")',
                for_seconds=0,
                summary="Alerting works.",
                description="Always fires, to prove that alerts reach the receiver.",
                dashboard=OVERVIEW,
            ),
        ),
    )
