"""Tables: a row for each caller, model or limit, a column for each query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidegate.monitoring.dashboards.links import Link
from tidegate.monitoring.dashboards.panel_types import PLAIN, decimals_of
from tidegate.monitoring.dashboards.panels import Panel, Step, override, thresholds
from tidegate.monitoring.dashboards.queries import Query

__all__ = ["Column", "table"]

_NOTHING: Final = "–"
"""In a cell: nothing is known, or nothing of the kind exists."""
_WIDE_PIXELS: Final = 220


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: the values of a query, beside the labels that all queries share.

    Attributes:
        title: over the column.
        expr: what is asked.
        unit: Grafana's name of its unit.
        steps: colours of the cell's text, by value.
        decimals: places after the point; None leaves them to Grafana.
        gauge: draws a bar for a share of 1 in the cell.
    """

    title: str
    expr: str
    unit: str
    steps: Sequence[Step] = ()
    decimals: int | None = None
    gauge: bool = False


def table(
    title: str,
    description: str,
    labels: Mapping[str, str],
    columns: Sequence[Column],
    links: Mapping[str, Link],
    link: Link,
    *,
    sort_by: str,
    descending: bool = True,
    wide: Sequence[str] = (),
    words: Mapping[str, Mapping[str, str]] | None = None,
    only: str = "",
    width: int = 24,
    height: int = 8,
    no_value: str = "No data",
) -> Panel:
    """Rows by label, for the end of the time range.

    `labels` tell the rows apart, with what stands over their columns; `links` are where the cells of a label lead. The
    rows are in the order of the column `sort_by`; labels in `wide` have long values; `words` colours the values of
    a label; `only` is an expression whose series are the rows that are shown.
    """
    value_names = {f"Value #{chr(ord('A') + index)}": column.title for index, column in enumerate(columns)}
    if len(columns) == 1:
        value_names = {"Value": columns[0].title}
    shown = f" and on ({', '.join(labels)}) {only}" if only else ""
    order = {name: index for index, name in enumerate((*labels, *value_names))}
    widths = [override(labels[name], {"custom.width": _WIDE_PIXELS}) for name in wide]
    coloured = [override(labels[name], _words(colours)) for name, colours in (words or {}).items()]
    cells = [override(labels[name], {"links": [way.of_cell()]}) for name, way in links.items()]
    return Panel(
        kind="table",
        title=title,
        description=description,
        unit=columns[0].unit,
        queries=[
            Query(f"({column.expr}){shown}" if shown else column.expr, instant=True, format="table")
            for column in columns
        ],
        width=width,
        height=height,
        link=link,
        options={
            "cellHeight": "sm",
            "showHeader": True,
        },
        defaults={
            "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": False},
            "color": {"mode": "thresholds"},
            "links": [],
            "noValue": no_value,
            "thresholds": thresholds(PLAIN),
        },
        overrides=[override("/.*/", {"noValue": _NOTHING}), *map(_column, columns), *cells, *widths, *coloured],
        transformations=[
            {"id": "merge", "options": {}},
            {
                "id": "organize",
                "options": {
                    "excludeByName": {"Time": True},
                    "indexByName": order,
                    "renameByName": {**labels, **value_names},
                },
            },
            {"id": "sortBy", "options": {"fields": {}, "sort": [{"field": sort_by, "desc": descending}]}},
        ],
    )


def _words(colours: Mapping[str, str]) -> dict[str, Any]:
    mapping = {word: {"color": colour, "index": index} for index, (word, colour) in enumerate(colours.items())}
    return {"custom.cellOptions": {"type": "color-text"}, "mappings": [{"type": "value", "options": mapping}]}


def _column(column: Column) -> dict[str, Any]:
    properties: dict[str, Any] = {"unit": column.unit, **decimals_of(column.decimals)}
    if column.gauge:
        properties |= {"custom.cellOptions": {"type": "gauge", "mode": "basic"}, "min": 0, "max": 1}
    elif column.steps:
        properties |= {"custom.cellOptions": {"type": "color-text"}}
    if column.steps:
        properties["thresholds"] = thresholds(column.steps)
    return override(column.title, properties)
