"""A dashboard of rows of panels, with the variables, annotations and links that all dashboards share."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidegate.monitoring import RUNBOOKS_URL
from tidegate.monitoring.dashboards.links import Link, with_variables
from tidegate.monitoring.dashboards.panels import Panel
from tidegate.monitoring.dashboards.queries import select
from tidegate.monitoring.dashboards.variables import (
    DATASOURCE,
    FILTERS,
    datasource_variable,
    filter_variable,
    runbooks_variable,
)
from tidegate.observe.metrics import catalogue

__all__ = ["Board", "Row"]

_COLUMNS: Final = 24
_TAG: Final = "tidegate"
_STEP_SECONDS: Final = 60
"""Step of annotation queries."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a title, from left to right and wrapped."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard.

    Attributes:
        link: its uid and title.
        question: the question that it answers.
        rows: the rows from top to bottom.
        time_from: start of the default time range, such as `now-1h`.
    """

    link: Link
    question: str
    rows: Sequence[Row]
    time_from: str = "now-1h"

    @property
    def panels(self) -> list[Panel]:
        """All panels, in reading order."""
        return [panel for row in self.rows for panel in row.panels]

    def json(self, runbooks_url: str = RUNBOOKS_URL) -> dict[str, Any]:
        """The dashboard in Grafana's JSON model, with links to runbooks under a base URL.

        Raises:
            ValueError: two panels have the same id.
        """
        identifiers = [panel.id for panel in self.panels]
        if len(set(identifiers)) < len(identifiers):
            raise ValueError(f"{self.link.uid}: two panels have the same title, or titles with the same checksum")
        used = re.findall(r"\$(\w+)", " ".join(query.expr for panel in self.panels for query in panel.queries))
        filters = [name for name in FILTERS if name in used]
        placed = with_variables(list(self._placed()), filters)
        return {
            "uid": self.link.uid,
            "title": f"Tidegate / {self.link.title}",
            "description": self.question,
            "tags": [_TAG],
            "schemaVersion": 42,
            "version": 1,
            "editable": False,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": self.time_from, "to": "now"},
            "timezone": "browser",
            "templating": {
                "list": [
                    datasource_variable(),
                    *map(filter_variable, filters),
                    *([runbooks_variable(runbooks_url)] if "${runbooks}" in str(placed) else []),
                ],
            },
            "annotations": {"list": [*_annotations()]},
            "links": [_other_dashboards()],
            "panels": placed,
        }

    def _placed(self) -> Iterator[dict[str, Any]]:
        y = 0
        for index, row in enumerate(self.rows):
            yield _row(row.title, index + 1, y)
            y += 1
            x = height = 0
            for panel in row.panels:
                if x + panel.width > _COLUMNS:
                    x, y = 0, y + height
                    height = 0
                yield panel.json(x, y)
                x += panel.width
                height = max(height, panel.height)
            y += height


def _row(title: str, identifier: int, y: int) -> dict[str, Any]:
    place = {"x": 0, "y": y, "w": _COLUMNS, "h": 1}
    return {"id": identifier, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _other_dashboards() -> dict[str, Any]:
    return {
        "type": "dashboards",
        "title": "Tidegate",
        "tags": [_TAG],
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
    }


def _annotations() -> Iterator[dict[str, Any]]:
    # Annotations have no $__rate_interval; two steps contain at least two scrapes at the usual intervals.
    configured = select(catalogue.LIMIT_PER_MINUTE, pool="", source="configured")
    build = select(catalogue.BUILD_INFO)
    age_seconds = 'time() - process_start_time_seconds{job=~"$job",instance=~"$instance"}'
    firing = 'ALERTS{job=~"$job",alertname=~"Tidegate.+",alertstate="firing"}'
    # Only the start of an alert: shading its whole duration would color every panel red.
    started = f"{firing} unless {firing} offset {_STEP_SECONDS}s"
    yield _annotation("Alerts", started, "red", "{{alertname}}", "{{severity}} {{pool}} {{caller}}")
    yield _annotation(
        "Configuration",
        f"max by (pool, dimension) (changes({configured}[{2 * _STEP_SECONDS}s])) > 0",
        "blue",
        "Configured limit changed",
        "{{pool}} {{dimension}}",
    )
    yield _annotation(
        "Restarts",
        f"({age_seconds} < {_STEP_SECONDS}) * on (job, instance) group_left (version, revision) {build}",
        "purple",
        "Started {{version}}",
        "{{instance}} {{revision}}",
    )


def _annotation(name: str, expr: str, colour: str, title: str, text: str) -> dict[str, Any]:
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "expr": expr,
        "iconColor": colour,
        "titleFormat": title,
        "textFormat": text,
        "step": f"{_STEP_SECONDS}s",
        "useValueForTime": False,
    }
