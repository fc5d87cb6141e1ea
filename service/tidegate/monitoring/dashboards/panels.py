"""A panel, and its rendering in Grafana's JSON model (schema version 42)."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from zlib import crc32

from tidegate.monitoring.dashboards.links import Link
from tidegate.monitoring.dashboards.queries import Query
from tidegate.monitoring.dashboards.variables import DATASOURCE

__all__ = ["Panel", "Step", "fixed_colour", "override", "shades_of", "thresholds"]

_NUMBER: Final = re.compile(r"\d+")

Step = tuple[float | None, str]
"""A colour, and the value from which it applies (None: from the lowest)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel without a position.

    Attributes:
        kind: Grafana's name of the panel type.
        title: unique within a dashboard. Its words determine the panel's id, so that links survive a new order of
            panels, and other thresholds, which are in some titles.
        description: what the panel shows, which values are good, and what to do otherwise.
        unit: Grafana's name of the unit.
        queries: the queries.
        width: width in 24ths of the page.
        height: height in grid units of 30 px with gaps of 8 px.
        link: the linked dashboard.
        options: options of the panel type.
        defaults: field options, besides unit and link.
        overrides: options of individual fields.
        transformations: transformations of the query results.
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
        """A checksum of the title without its numbers."""
        return crc32(_NUMBER.sub("", self.title).encode()) % 1_000_000

    def json(self, x: int, y: int) -> dict[str, Any]:
        """The panel at a position in grid units."""
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
    """Steps in Grafana's JSON."""
    return {"mode": "absolute", "steps": [{"value": value, "color": colour} for value, colour in steps]}


def override(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Overrides properties of the field with this name, or of all that match a `/regular expression/`."""
    return {
        "matcher": {"id": "byRegexp" if name.startswith("/") else "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties.items()],
    }


def fixed_colour(colour: str) -> dict[str, str]:
    """One colour for all values."""
    return {"mode": "fixed", "fixedColor": colour}


def shades_of(colour: str) -> dict[str, str]:
    """Shades of one colour, one per series."""
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
