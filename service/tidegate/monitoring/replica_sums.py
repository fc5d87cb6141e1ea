"""PromQL for gauges of several replicas, whether they share their state or each has its own."""

from typing import Final

from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.catalogue import Metric

__all__ = ["ADDED_UP", "lowest", "over_replicas"]

ADDED_UP: Final = frozenset(
    {
        catalogue.LIMIT_PER_MINUTE,
        catalogue.AVAILABLE,
        catalogue.CAPACITY,
        catalogue.IN_FLIGHT,
        catalogue.CONCURRENCY_LIMIT,
    }
)
"""Gauges marked as shared whose values add up over replicas that share no store: each has a part of the whole.

The others, such as `pool_frozen`, are true of the whole if they are true of one replica.
"""


def over_replicas(metric: Metric, series: str, degraded: str, by: str) -> str:
    """The value of a shared gauge for all replicas together.

    It is counted once if the replicas share a store. Replicas without one, or cut off from it, have a state of their
    own, and these are added up.

    Args:
        metric: the gauge.
        series: its series.
        degraded: the series of `tidegate_degraded` of the same replicas, which only replicas with a shared store have.
        by: labels to keep.
    """
    if metric not in ADDED_UP:
        return f"max by ({by}) ({series})"
    together = f"max by ({by}) ({series} and on (job, instance) ({degraded} == 0))"
    return f"({together} or sum by ({by}) ({series}))"


def lowest(by: str, *values: str) -> str:
    """The lowest of several values for each combination of the labels. Values that are missing do not count."""
    numbered = (f'label_replace({value}, "of", "{number}", "", "")' for number, value in enumerate(values))
    return f"min by ({by}) ({' or '.join(numbered)})"
