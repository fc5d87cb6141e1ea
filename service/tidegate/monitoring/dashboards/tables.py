"""Tables with a row per caller, model or limit, and a column per query."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tidegate.monitoring.dashboards.links import Link, RunbookLink
from tidegate.monitoring.dashboards.panel_types import PLAIN, decimals_of
from tidegate.monitoring.dashboards.panels import Panel, Step, override, thresholds
from tidegate.monitoring.dashboards.queries import Query

__all__ = ["Column", "table"]

_NOTHING: Final = "–"
"""Text of an empty cell."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column with the values of a query.

    Attributes:
        title: the column's title.
        expr: the query. It has the labels of the rows; it may lack one that does not tell rows apart.
        unit: Grafana's name of the unit.
        steps: colours of the text, by value.
        decimals: number of decimals; None leaves it to Grafana.
        gauge: whether the cell shows a bar, for shares from 0 to 1.
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
    links: Mapping[str, Link | RunbookLink],
    link: Link,
    *,
    sort_by: str,
    descending: bool = True,
    widths: Mapping[str, int] | None = None,
    words: Mapping[str, Mapping[str, str]] | None = None,
    texts: Mapping[str, Mapping[str, str]] | None = None,
    patterns: Mapping[str, Sequence[tuple[str, str, str]]] | None = None,
    only: str = "",
    width: int = 24,
    height: int = 8,
    no_value: str = "No data",
) -> Panel:
    """A table of values at the end of the time range.

    Args:
        title: the panel's title.
        description: the panel's description.
        labels: labels that identify a row, with the titles of their columns.
        columns: the columns with values.
        links: links of the cells of a label.
        link: the linked dashboard.
        sort_by: title of the column to sort by.
        descending: the sort order.
        widths: widths of columns in pixels, by label or title.
        words: colours of the values of a label.
        texts: texts that replace the values of a label.
        patterns: regular expressions of the values of a label, with the text that replaces them and its colour.
        only: an expression whose series select the rows.
        width: the panel's width.
        height: the panel's height.
        no_value: text of an empty table.
    """
    value_names = {f"Value #{chr(ord('A') + index)}": column.title for index, column in enumerate(columns)}
    if len(columns) == 1:
        value_names = {"Value": columns[0].title}
    shown = f" and on ({', '.join(labels)}) {only}" if only else ""
    order = {name: index for index, name in enumerate((*labels, *value_names))}
    sized = [override(labels.get(name, name), {"custom.width": pixels}) for name, pixels in (widths or {}).items()]
    coloured = [override(labels[name], _words(colours)) for name, colours in (words or {}).items()]
    coloured += [override(labels[name], _texts(replaced)) for name, replaced in (texts or {}).items()]
    coloured += [override(labels[name], _patterns(replaced)) for name, replaced in (patterns or {}).items()]
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
        overrides=[override("/.*/", {"noValue": _NOTHING}), *map(_column, columns), *cells, *sized, *coloured],
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


def _texts(texts: Mapping[str, str]) -> dict[str, Any]:
    mapping = {value: {"text": text, "index": index} for index, (value, text) in enumerate(texts.items())}
    return {"mappings": [{"type": "value", "options": mapping}]}


def _patterns(patterns: Sequence[tuple[str, str, str]]) -> dict[str, Any]:
    return {
        "custom.cellOptions": {"type": "color-text"},
        "mappings": [
            {
                "type": "regex",
                "options": {"pattern": pattern, "result": {"text": text, "color": colour, "index": index}},
            }
            for index, (pattern, text, colour) in enumerate(patterns)
        ],
    }


def _column(column: Column) -> dict[str, Any]:
    properties: dict[str, Any] = {"unit": column.unit, **decimals_of(column.decimals)}
    if column.gauge:
        properties |= {"custom.cellOptions": {"type": "gauge", "mode": "basic"}, "min": 0, "max": 1}
    elif column.steps:
        properties |= {"custom.cellOptions": {"type": "color-text"}}
    if column.steps:
        properties["thresholds"] = thresholds(column.steps)
    return override(column.title, properties)
