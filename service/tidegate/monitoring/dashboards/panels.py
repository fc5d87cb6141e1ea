"""A panel as a value, and how it is written in Grafana's JSON (schema version 42)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from tidegate.monitoring.dashboards.links import Link
from tidegate.monitoring.dashboards.queries import Query
from tidegate.monitoring.dashboards.variables import DATASOURCE

__all__ = ["Panel", "Step", "fixed_colour", "override", "shades_of", "thresholds"]

Step = tuple[float | None, str]
"""From this value on (None: from the lowest) a value has this colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel, still without a place.

    Attributes:
        kind: Grafana's name of the panel type.
        title: unique within a dashboard; the panel's id follows from it, so that links to a panel outlive a new order.
        description: what it shows, what good looks like, and what to do if it does not.
        unit: Grafana's name of the unit.
        queries: what is asked.
        width: in 24ths of the page.
        height: in grid units of 30 px with 8 px between.
        link: where it leads.
        options: of the panel type.
        defaults: of every field, beside unit and link.
        overrides: of single fields.
        transformations: between queries and picture.
    """

    kind: str
    title: str
    description: str
    unit: str
    queries: Sequence[Query]
    width: int
    height: int
    link: Link
    options: Mapping[str, Any]
    defaults: Mapping[str, Any] = field(default_factory=dict)
    overrides: Sequence[Mapping[str, Any]] = ()
    transformations: Sequence[Mapping[str, Any]] = ()

    @property
    def id(self) -> int:
        """Stays while the title stays."""
        return crc32(self.title.encode()) % 1_000_000

    def json(self, x: int, y: int) -> dict[str, Any]:
        """The panel at its place, in grid units."""
        return {
            "id": self.id,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "links": [self.link.of_panel()],
            "targets": [_target(query, chr(ord("A") + index)) for index, query in enumerate(self.queries)],
            "options": dict(self.options),
            "fieldConfig": {
                "defaults": {"unit": self.unit, "links": [self.link.of_series()], **self.defaults},
                "overrides": list(self.overrides),
            },
            "transformations": list(self.transformations),
        }


def thresholds(steps: Sequence[Step]) -> dict[str, Any]:
    """Steps as Grafana writes them."""
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}


def override(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Properties of the field with this name, or of all that match a `/regular expression/`."""
    return {
        "matcher": {"id": "byRegexp" if name.startswith("/") else "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def fixed_colour(colour: str) -> dict[str, str]:
    """One colour, whatever the value."""
    return {"mode": "fixed", "fixedColor": colour}


def shades_of(colour: str) -> dict[str, str]:
    """One colour, lighter or darker for each series."""
    return {"mode": "shades", "fixedColor": colour}


def _target(query: Query, ref_id: str) -> dict[str, Any]:
    return {
        "refId": ref_id,
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "instant": query.instant,
        "range": not query.instant,
        "format": query.format,
        "exemplar": query.exemplars,
    }
