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
    select,
    shared,
    total,
)
from tidegate.observe.metrics import catalogue

__all__ = ["ADMISSION_ROW"]

_SHORTEST: Final = str(catalogue.QUEUE_WAIT.buckets[0])
"""Bucket of waits that count as zero, in seconds."""
_ADMITTED: Final = increase(catalogue.QUEUE_WAIT, suffix="_count")
_AT_ONCE: Final = increase(catalogue.QUEUE_WAIT, suffix="_bucket", le=_SHORTEST)
_WAITING: Final = f"sum({select(catalogue.QUEUE_DEPTH)})"

ADMISSION_ROW: Final = Row(
    "From arrival to admission",
    (
        bars(
            "Admission funnel",
            "Calls of all callers in the time range. Most admitted at once is good. For refused calls, see the cause. A"
            " call that returns to the queue after a 429 is admitted again. Clients that gave up waiting are missing:"
            " see Waits without admission on Callers.",
            units.EXACT_COUNT,
            [
                # Admissions have no label `caller`, so the variable must not filter refusals either.
                Query(f"{_ADMITTED} + {increase(catalogue.REFUSED, caller='')} + {_WAITING}", "arrived", instant=True),
                Query(_AT_ONCE, "admitted at once", instant=True),
                Query(f"{_ADMITTED} - {_AT_ONCE}", "admitted after a wait", instant=True),
                Query(_WAITING, "still waiting", instant=True),
                Query(f"{increase(catalogue.REFUSED, by='cause', caller='')} > 0", "refused: {{cause}}", instant=True),
            ],
            CALLERS,
            colours={
                "arrived": units.NEUTRAL,
                "admitted at once": units.GOOD,
                "admitted after a wait": "yellow",
                "still waiting": units.UNKNOWN,
                **{f"refused: {cause}": colour for cause, colour in units.CAUSES.items()},
            },
            decimals=0,
            no_value="No traffic",
        ),
        timeseries(
            "Queue wait by class, p95",
            "interactive should be below standard, and standard below batch. A class far above the others for a long"
            " time is starved: check the weights. The lines are those of the alert, which leaves out class batch and"
            " callers that flood a pool.",
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
        ),
    ),
)
