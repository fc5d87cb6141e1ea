"""The row of the dashboard "Limiter" on admissions, waits and refusals."""

from typing import Final

from tidegate.monitoring.dashboards import levels, units
from tidegate.monitoring.dashboards.board import Row
from tidegate.monitoring.dashboards.links import CALLERS
from tidegate.monitoring.dashboards.panel_types import bars, timeseries
from tidegate.monitoring.dashboards.queries import (
    Query,
    increase,
    or_zero,
    quantile,
    rate,
    shared,
    total,
)
from tidegate.observe.metrics import catalogue

__all__ = ["ADMISSION_ROW"]

_SHORTEST: Final = str(catalogue.QUEUE_WAIT.buckets[0])
"""Bucket of waits that count as zero, in seconds."""
_ADMITTED: Final = increase(catalogue.QUEUE_WAIT, suffix="_count")
_AT_ONCE: Final = increase(catalogue.QUEUE_WAIT, suffix="_bucket", le=_SHORTEST)
_AT_ONCE_RATE: Final = rate(catalogue.QUEUE_WAIT, suffix="_bucket", le=_SHORTEST)


ADMISSION_ROW: Final = Row(
    "From arrival to admission",
    (
        bars(
            "Admission funnel",
            "Calls in the time range. Most admitted at once is good. For refused calls, see the cause. A call that"
            " returns to the queue after a 429 is admitted again.",
            units.EXACT_COUNT,
            [
                Query(f"{_ADMITTED} + {increase(catalogue.REFUSED)}", "arrived", instant=True),
                Query(_AT_ONCE, "admitted at once", instant=True),
                Query(f"{_ADMITTED} - {_AT_ONCE}", "admitted after a wait", instant=True),
                Query(f"{increase(catalogue.REFUSED, by='cause')} > 0", "refused: {{cause}}", instant=True),
            ],
            CALLERS,
            colours={
                "arrived": units.NEUTRAL,
                "admitted at once": units.GOOD,
                "admitted after a wait": "yellow",
                "/^refused/": units.REFUSED,
            },
            decimals=0,
            no_value="No traffic",
        ),
        timeseries(
            "Queue wait by class, p95",
            "interactive should be below standard, and standard below batch. A class far above the others for a long"
            " time is starved: check the weights.",
            units.SECONDS,
            [
                Query(quantile(0.95, catalogue.QUEUE_WAIT, by="class"), "{{class}}", exemplars=True),
            ],
            CALLERS,
            colours=units.CLASSES,
            limits=levels.QUEUE_WAIT[1:],
            no_value="No calls",
        ),
        timeseries(
            "Waiting calls by class",
            "Zero or short bursts are good. Steady growth means that demand exceeds the quota.",
            units.COUNT,
            [Query(total(catalogue.QUEUE_DEPTH, "class"), "{{class}}")],
            CALLERS,
            colours=units.CLASSES,
            stacked=True,
        ),
        timeseries(
            "Oldest waiting call by class",
            "Wait so far of the oldest waiting call; 0 if none waits. If it grows in one class only, the class is"
            " starved: give its callers more weight.",
            units.SECONDS,
            [
                Query(
                    or_zero(shared(catalogue.QUEUE_OLDEST, "class"), total(catalogue.QUEUE_DEPTH, "class")),
                    "{{class}}",
                )
            ],
            CALLERS,
            colours=units.CLASSES,
            limits=levels.QUEUE_WAIT[1:],
        ),
    ),
)
