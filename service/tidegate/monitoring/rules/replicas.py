"""Alerts on replicas that share a store."""

from typing import Final

from tidegate.monitoring.dashboards.links import OVERVIEW
from tidegate.monitoring.rules.rule import Alert, Group, duration, enough_above, quantile
from tidegate.observe.metrics import catalogue, thresholds

__all__ = ["REPLICAS"]

_WINDOW: Final = duration(thresholds.SERVICE_WINDOW_SECONDS)
_CHANGES_WINDOW: Final = duration(thresholds.LEADER_CHANGES_WINDOW_SECONDS)
_RETURN_WINDOW: Final = duration(thresholds.STORE_RETURN_WINDOW_SECONDS)
_SLOW_ANSWERS: Final = enough_above(
    catalogue.STORE_LATENCY,
    thresholds.STORE_LATENCY_P99_SECONDS,
    thresholds.STORE_SLOW_LEAST,
    thresholds.SERVICE_WINDOW_SECONDS,
    "job, instance",
)

REPLICAS: Final = Group(
    "tidegate-replicas",
    (
        Alert(
            name="TidegateDegraded",
            severity="warning",
            expr=f"max by (job, instance) ({catalogue.DEGRADED.name}) > 0",
            for_seconds=60,
            keep_firing_seconds=300,
            summary="A replica has lost the shared store.",
            description=(
                "{{ $labels.instance }} does not reach the shared store. It decides by its share of the limits, and "
                "refuses calls if that lasts."
            ),
            dashboard=OVERVIEW,
            by=("instance",),
        ),
        Alert(
            name="TidegateLeaderChanges",
            severity="warning",
            # One replica begins to lead and another one ends. The counter of changes is no measure: it is the same in
            # all replicas, and after a restart it jumps from 0 to what it was.
            expr=(
                f"sum by (job) (changes({catalogue.LEADER.name}[{_CHANGES_WINDOW}])) / 2 >= {thresholds.LEADER_CHANGES}"
            ),
            for_seconds=0,
            keep_firing_seconds=600,
            summary="The leader of the replicas changes again and again.",
            description=(
                'Another replica has taken the lead {{ $value | printf "%.0f" }} times in the last '
                f"{_CHANGES_WINDOW}. Calls wait during each change."
            ),
            dashboard=OVERVIEW,
        ),
        Alert(
            name="TidegateLeaderSilent",
            severity="critical",  # no objective counts calls that have not ended to wait
            # A replica that has just returned to the store knows an old report only, until the leader's next one.
            expr=(
                f"min by (job) ({catalogue.SNAPSHOT_AGE.name}"
                f" unless on (job, instance) max_over_time({catalogue.DEGRADED.name}[{_RETURN_WINDOW}]) == 1)"
                f" > {thresholds.LEADER_SILENT_SECONDS}"
            ),
            for_seconds=30,
            keep_firing_seconds=60,
            summary="No leader admits calls, although the shared store answers.",
            description=(
                "No leader of the replicas has reported for {{ $value | humanizeDuration }}, although the shared store "
                "answers. All calls wait until one does."
            ),
            dashboard=OVERVIEW,
        ),
        Alert(
            name="TidegateStoreSlow",
            severity="warning",
            expr=(
                f"{quantile(0.99, catalogue.STORE_LATENCY, 'job, instance', _WINDOW)}"
                f" > {thresholds.STORE_LATENCY_P99_SECONDS:g}\nand {_SLOW_ANSWERS}"
            ),
            for_seconds=300,
            keep_firing_seconds=300,
            summary="The shared store answers slowly.",
            description=(
                "1% of the answers of the shared store to {{ $labels.instance }} take {{ $value | humanizeDuration }} "
                f"or longer (threshold: {thresholds.STORE_LATENCY_P99_SECONDS * 1000:g} ms), and each admission waits "
                "for two of them."
            ),
            dashboard=OVERVIEW,
            by=("instance",),
        ),
    ),
)
"""All alerts on replicas that share a store. Without one, none of their metrics exists."""
