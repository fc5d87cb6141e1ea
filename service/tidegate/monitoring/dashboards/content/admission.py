"""The row of the dashboard "Limiter" on admissions, waits and refusals."""

from typing import Final

from tidegate.monitoring.dashboards import levels, units
from tidegate.monitoring.dashboards.board import Row
from tidegate.monitoring.dashboards.links import CALLERS
from tidegate.monitoring.dashboards.panel_types import bars, heatmap, timeseries
from tidegate.monitoring.dashboards.panels import Panel
from tidegate.monitoring.dashboards.queries import (
    Query,
    histogram,
    increase,
    nonzero_per_minute,
    or_zero,
    quantile,
    rate,
    shared,
    total,
)
from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.catalogue import Metric

__all__ = ["ADMISSION_ROW"]

_SHORTEST: Final = str(catalogue.QUEUE_WAIT.buckets[0])
"""Bucket of waits that count as zero, in seconds."""
_ADMITTED: Final = increase(catalogue.QUEUE_WAIT, suffix="_count")
_AT_ONCE: Final = increase(catalogue.QUEUE_WAIT, suffix="_bucket", le=_SHORTEST)
_AT_ONCE_RATE: Final = rate(catalogue.QUEUE_WAIT, suffix="_bucket", le=_SHORTEST)


def _waiting_by_class(title: str, description: str, metric: Metric) -> Panel:
    return timeseries(
        title,
        description,
        units.COUNT,
        [Query(total(metric, "class"), "{{class}}")],
        CALLERS,
        colours=units.CLASSES,
        stacked=True,
        width=8,
    )


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
            height=9,
            decimals=0,
            no_value="No traffic",
        ),
        timeseries(
            "Admissions and refusals",
            "Green: admitted at once, which is good. Yellow: admitted after a wait. Other colours: refusals by cause.",
            units.PER_MINUTE,
            [
                Query(f"60 * {_AT_ONCE_RATE}", "admitted at once"),
                Query(
                    f"60 * ({rate(catalogue.QUEUE_WAIT, suffix='_count')} - {_AT_ONCE_RATE})",
                    "admitted after a wait",
                ),
                Query(nonzero_per_minute(catalogue.REFUSED, by="cause"), "refused: {{cause}}", exemplars=True),
            ],
            CALLERS,
            stacked=True,
            colours={
                "admitted at once": units.GOOD,
                "admitted after a wait": "yellow",
                **{f"refused: {cause}": colour for cause, colour in units.CAUSES.items()},
            },
            height=9,
        ),
        heatmap(
            "Queue wait",
            "Distribution of waits. All calls in the lowest row is good. A rising band is a growing queue.",
            units.SECONDS,
            histogram(catalogue.QUEUE_WAIT),
            CALLERS,
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
        ),
        _waiting_by_class(
            "Waiting calls by class",
            "Zero or short bursts are good. Steady growth means that demand exceeds the quota.",
            catalogue.QUEUE_DEPTH,
        ),
        _waiting_by_class(
            "Waiting tokens by class",
            "Estimated tokens of waiting calls. Divided by the token limit per minute, this is the length of the queue"
            " in minutes. Less than one is good; otherwise find the caller that causes it.",
            catalogue.QUEUE_TOKENS,
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
            width=8,
        ),
    ),
)
