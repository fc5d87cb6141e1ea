"""The row of the dashboard "Overview" on replicas that share a store."""

from typing import Final

from tidegate.monitoring.dashboards import units
from tidegate.monitoring.dashboards.board import Row
from tidegate.monitoring.dashboards.links import LIMITER
from tidegate.monitoring.dashboards.panel_types import states, timeseries
from tidegate.monitoring.dashboards.queries import Query, quantile, select, total
from tidegate.observe.metrics import catalogue

__all__ = ["REPLICAS_ROW"]

_NOT_SHARED: Final = "No shared store"
_INSTANCE: Final = "{{instance}}"

REPLICAS_ROW: Final = Row(
    "Do the replicas share one limit?",
    (
        states(
            "State of each replica",
            "A replica that follows or leads shares the limits. Degraded: it lost the shared store, and uses its share"
            " of the limits, or refuses calls. Exactly one leader is good.",
            [
                Query(
                    f"2 * {total(catalogue.DEGRADED, 'instance')} > 0 or {total(catalogue.LEADER, 'instance')}",
                    _INSTANCE,
                )
            ],
            LIMITER,
            names={0: ("follows", units.GOOD), 1: ("leads", units.NEUTRAL), 2: ("degraded", units.CRITICAL)},
            no_value=_NOT_SHARED,
            width=8,
        ),
        timeseries(
            "Replicas and changes of the leader",
            "Replicas that share the limits, as the leader counts them, and as many as reach the store. Both should be"
            " the number that run. The leader should only change when a replica ends.",
            units.COUNT,
            [
                Query(f"max({select(catalogue.REPLICAS)})", "replicas"),
                Query(f"sum({select(catalogue.STORE_UP)})", "reach the store"),
                Query(f"60 * max(rate({select(catalogue.LEADER_CHANGES)}[$__rate_interval]))", "changes per minute"),
            ],
            LIMITER,
            no_value=_NOT_SHARED,
            width=8,
        ),
        timeseries(
            "Answers of the store, p99",
            "Each admission waits for two of them. Below 10 ms is good. A replica without an answer for 250 ms is"
            " degraded.",
            units.SECONDS,
            [Query(quantile(0.99, catalogue.STORE_LATENCY, by="instance"), _INSTANCE)],
            LIMITER,
            no_value=_NOT_SHARED,
            width=8,
        ),
    ),
)
