"""Alerts on the service itself: is it us?"""

from typing import Final

from tidegate.monitoring.dashboards.links import LIMITER, OVERVIEW
from tidegate.monitoring.rules.rule import Alert, Group, beyond, duration
from tidegate.observe.metrics import catalogue, thresholds
from tidegate.observe.metrics.catalogue import Metric

__all__ = ["service"]

_WINDOW: Final = duration(thresholds.SERVICE_WINDOW_SECONDS)
_ESTIMATE_WINDOW: Final = duration(thresholds.ESTIMATE_WINDOW_SECONDS)
_SILENCE: Final = duration(thresholds.NO_TRAFFIC_WINDOW_SECONDS)

_SLOW_CALLS: Final = beyond(
    catalogue.OVERHEAD,
    thresholds.OVERHEAD_P99_SECONDS,
    thresholds.OVERHEAD_LEAST,
    thresholds.SERVICE_WINDOW_SECONDS,
    "job, route",
)


def _p99(metric: Metric, by: str) -> str:
    return f"histogram_quantile(\n  0.99,\n  sum by ({by}, le) (rate({metric.name}_bucket[{_WINDOW}]))\n)"


def _estimate_drift(severity: str, comparison: str, text: str) -> Alert:
    ratio = catalogue.ESTIMATE_ERROR.name
    by = "job, pool, dimension"
    return Alert(
        name="TidegateEstimateDrift",
        severity=severity,
        expr=(
            f"histogram_quantile(\n  0.5,\n  sum by ({by}, le) (rate({ratio}_bucket[{_ESTIMATE_WINDOW}]))\n)"
            f" {comparison}\n"
            f"and sum by ({by}) (increase({ratio}_count[{_ESTIMATE_WINDOW}])) >= {thresholds.ESTIMATE_LEAST}"
        ),
        for_seconds=900,
        summary=f"Calls cost {text} than is reserved for them.",
        description=(
            "For half of the calls of pool {{ $labels.pool }}, "
            '{{ $value | printf "%.2g" }} times or less of the {{ $labels.dimension }} that they used was reserved.'
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
        summary="Nobody calls any more.",
        description=(
            f"Job {{{{ $labels.job }}}} has had no call for {_SILENCE}; there were some in the hour before, "
            "and at this time yesterday."
        ),
        dashboard=OVERVIEW,
    )


def service(job: str) -> Group:
    """All of them, for this scrape job."""
    up = f'up{{job="{job}"}}'
    return Group(
        "tidegate-service",
        (
            Alert(
                name="TidegateDown",
                severity="warning",
                expr=f"{up} == 0",
                for_seconds=120,
                summary="One replica cannot be scraped.",
                description="Prometheus cannot scrape {{ $labels.instance }}.",
                dashboard=OVERVIEW,
                by=("instance",),
            ),
            Alert(
                name="TidegateDown",
                severity="critical",
                expr=f"max by (job) ({up}) == 0",
                for_seconds=60,
                summary="No replica can be scraped.",
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
                    "Prometheus knows no target of job {{ $labels.job }}, or scrapes one that is not Tidegate: "
                    "no other alert can fire."
                ),
                dashboard=OVERVIEW,
            ),
            _no_traffic(),
            Alert(
                name="TidegateOverheadHigh",
                severity="warning",
                expr=(
                    f"{_p99(catalogue.OVERHEAD, 'job, route')} > {thresholds.OVERHEAD_P99_SECONDS:g}\nand {_SLOW_CALLS}"
                ),
                for_seconds=600,
                summary="Tidegate itself takes long.",
                description=(
                    "One call in a hundred of {{ $labels.route }} spends {{ $value | humanizeDuration }} or more "
                    f"in Tidegate itself; more than {thresholds.OVERHEAD_P99_SECONDS * 1000:g} ms is too long."
                ),
                dashboard=OVERVIEW,
            ),
            Alert(
                name="TidegateEventLoopLag",
                severity="warning",
                expr=f"{_p99(catalogue.EVENT_LOOP_LAG, 'job, instance')} > {thresholds.LOOP_LAG_P99_SECONDS:g}",
                for_seconds=300,
                summary="A replica's event loop is late.",
                description=(
                    "One timer in a hundred of {{ $labels.instance }} runs {{ $value | humanizeDuration }} or more "
                    "too late, and so do all its calls; more than "
                    f"{thresholds.LOOP_LAG_P99_SECONDS * 1000:g} ms is too long."
                ),
                dashboard=OVERVIEW,
                by=("instance",),
            ),
            Alert(
                name="TidegateLeaseLeak",
                severity="warning",
                expr=f"max by (job, pool) ({catalogue.OLDEST_LEASE.name}) > {thresholds.OLDEST_LEASE_SECONDS}",
                for_seconds=60,
                summary="A lease has not ended for longer than any call lasts.",
                description=(
                    "The oldest lease of pool {{ $labels.pool }} is {{ $value | humanizeDuration }} old; "
                    "what it reserved is missing from the quota."
                ),
                dashboard=LIMITER,
                by=("pool",),
            ),
            _estimate_drift("warning", f"< {thresholds.ESTIMATE_RATIO_LOW:g}", "far more"),
            _estimate_drift("info", f"> {thresholds.ESTIMATE_RATIO_HIGH:g}", "far less"),
            Alert(
                name="Watchdog",
                severity="none",
                expr=f'label_replace(vector(1), "job", "{job}", "", "")',
                for_seconds=0,
                summary="Alerting works.",
                description="Always fires: whoever receives it knows that alerts arrive, and misses it when it stops.",
                dashboard=OVERVIEW,
            ),
        ),
    )
