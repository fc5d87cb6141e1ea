"""Colours by value: green, then orange and red from the thresholds of the alerts."""

from typing import Final

from tidegate.monitoring.dashboards import units
from tidegate.monitoring.dashboards.panels import Step
from tidegate.observe.metrics import thresholds

__all__ = ["QUEUE_WAIT", "REFUSED", "rising"]


def rising(warning: float, critical: float | None = None) -> tuple[Step, ...]:
    """Steps for values that are good below `warning`. Without the first step, they are the dashed lines of a graph."""
    worst = () if critical is None else ((critical, units.CRITICAL),)
    return ((None, units.GOOD), (warning, units.WARNING), *worst)


QUEUE_WAIT: Final = rising(thresholds.QUEUE_WAIT_P95_WARNING_SECONDS, thresholds.QUEUE_WAIT_P95_CRITICAL_SECONDS)
REFUSED: Final = rising(thresholds.REFUSED_SHARE)
