"""The panel types in use, with their common options."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from tidegate.monitoring.dashboards.links import Link
from tidegate.monitoring.dashboards.panels import Panel, Step, fixed_colour, override, shades_of, thresholds
from tidegate.monitoring.dashboards.queries import OTHERS, Query
from tidegate.monitoring.dashboards.units import COUNT, PER_MINUTE, RATIO, SHARE

__all__ = ["PLAIN", "bars", "decimals_of", "heatmap", "stat", "states", "timeseries"]

PLAIN: Final[tuple[Step, ...]] = ((None, "text"),)
"""Steps of a number without an alert."""
_REDUCED: Final = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
_ABOUT_ONE: Final = (COUNT, PER_MINUTE, RATIO, SHARE)
"""Units of axes that reach 1 at least. If all values are zero, Grafana would draw an axis up to 100."""
_STACKED: Final = {"mode": "normal", "group": "A"}
_NOT_STACKED: Final = {"mode": "none", "group": "A"}
_LEGEND: Final = {"displayMode": "table", "placement": "right", "showLegend": True}
_SMALL_LEGEND: Final = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
"""Legend of narrow panels, which have no space for a table."""


def stat(
    title: str,
    description: str,
    unit: str,
    query: Query,
    link: Link,
    *,
    steps: Sequence[Step] = PLAIN,
    width: int = 4,
    height: int = 4,
    no_value: str = "No data",
    decimals: int | None = None,
) -> Panel:
    """A single number: the value now, never an older one."""
    return Panel(
        kind="stat",
        title=title,
        description=description,
        unit=unit,
        queries=[replace(query, instant=True)],
        width=width,
        height=height,
        link=link,
        options={
            **_REDUCED,
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "value",
            "wideLayout": False,
        },
        defaults={
            "thresholds": thresholds(steps),
            "noValue": no_value,
            "mappings": [
                {"type": "special", "options": {"match": "null+nan", "result": {"text": no_value, "color": "text"}}}
            ],
            **decimals_of(decimals),
            "color": {"mode": "thresholds"},
        },
    )


def timeseries(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    link: Link,
    *,
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    colours: Mapping[str, str] | None = None,
    shades: Mapping[str, str] | None = None,
    limits: Sequence[Step] = (),
    max_value: float | None = None,
    logarithmic: bool = False,
    dashed: str | None = None,
    calculations: Sequence[str] = ("max", "lastNotNull"),
    no_value: str = "No data",
) -> Panel:
    """A graph of series over time.

    `colours`, `shades` and `dashed` select series by name or by `/regular expression/`.

    Args:
        title: the panel's title.
        description: the panel's description.
        unit: Grafana's name of the unit.
        queries: the queries.
        link: the linked dashboard.
        width: the panel's width.
        height: the panel's height.
        stacked: whether series are stacked.
        colours: fixed colours of series.
        shades: colours of groups of series, which get different shades.
        limits: dashed lines at the thresholds of alerts.
        max_value: end of the axis.
        logarithmic: whether the axis is logarithmic, for values of different orders of magnitude.
        dashed: series that are limits rather than measurements.
        calculations: columns of the legend.
        no_value: text of an empty panel.
    """
    custom: dict[str, Any] = {
        "drawStyle": "line",
        "lineWidth": 1,
        # Filled areas of several unstacked series would cover each other.
        "fillOpacity": 50 if stacked else 0,
        "gradientMode": "none",
        "showPoints": "never",
        "spanNulls": False,
        "stacking": _STACKED if stacked else _NOT_STACKED,
        "scaleDistribution": {"type": "log", "log": 10} if logarithmic else {"type": "linear"},
        "thresholdsStyle": {"mode": "dashed" if limits else "off"},
    }
    if unit in _ABOUT_ONE and not logarithmic:
        custom["axisSoftMax"] = 1
    overrides = [override(name, {"color": fixed_colour(colour)}) for name, colour in (colours or {}).items()]
    overrides += [override(name, {"color": shades_of(colour)}) for name, colour in (shades or {}).items()]
    if any(query.legend == OTHERS for query in queries):
        overrides.append(override(OTHERS, {"links": [link.of_panel()]}))  # it has no value to filter by
    if dashed:
        line = {"fill": "dash", "dash": [8, 6]}
        overrides.append(
            override(
                dashed,
                {
                    "custom.lineStyle": line,
                    "custom.fillOpacity": 0,
                    "custom.lineWidth": 2,
                    "custom.stacking": _NOT_STACKED,
                },
            )
        )
    return Panel(
        kind="timeseries",
        title=title,
        description=description,
        unit=unit,
        queries=queries,
        width=width,
        height=height,
        link=link,
        options={
            "legend": _LEGEND | {"calcs": list(calculations)} if width >= 12 else _SMALL_LEGEND,
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        defaults={
            "custom": custom,
            "color": {"mode": "palette-classic"},
            # A logarithmic axis has no zero.
            **({} if logarithmic else {"min": 0}),
            "noValue": no_value,
            "thresholds": thresholds([(None, "transparent"), *limits]),
            **({} if max_value is None else {"max": max_value}),
        },
        overrides=overrides,
    )


def heatmap(
    title: str,
    description: str,
    unit: str,
    query: Query,
    link: Link,
    *,
    width: int = 12,
    height: int = 8,
    no_value: str = "No data",
) -> Panel:
    """The distribution of values over time. `unit` is the unit of the values; the colours show counts."""
    return Panel(
        kind="heatmap",
        title=title,
        description=description,
        unit=COUNT,
        queries=[query],
        width=width,
        height=height,
        link=link,
        options={
            "calculate": False,
            "cellGap": 1,
            "color": {
                "mode": "scheme",
                "scheme": "Oranges",
                "scale": "exponential",
                "exponent": 0.5,
                "steps": 64,
                "reverse": False,
            },
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": True},
            "yAxis": {"axisPlacement": "left", "unit": unit},
        },
        defaults={"noValue": no_value},
    )


def states(
    title: str,
    description: str,
    queries: Sequence[Query],
    link: Link,
    *,
    names: Mapping[int, tuple[str, str]],
    width: int = 12,
    height: int = 8,
    no_value: str = "No data",
) -> Panel:
    """States over time, one row per series. `names` gives the text and the colour of each value."""
    mapping = {str(value): {"text": text, "color": colour, "index": value} for value, (text, colour) in names.items()}
    return Panel(
        kind="state-timeline",
        title=title,
        description=description,
        unit="none",
        queries=queries,
        width=width,
        height=height,
        link=link,
        options={
            "alignValue": "center",
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "mergeValues": True,
            "rowHeight": 0.85,
            "showValue": "never",
            "tooltip": {"mode": "single", "sort": "none"},
        },
        defaults={
            "custom": {"fillOpacity": 80, "lineWidth": 0, "spanNulls": False},
            "color": {"mode": "thresholds"},
            "mappings": [{"type": "value", "options": mapping}],
            "noValue": no_value,
            "thresholds": thresholds(
                [(None if value == min(names) else value, colour) for value, (_, colour) in names.items()]
            ),
        },
    )


def bars(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    link: Link,
    *,
    steps: Sequence[Step] = PLAIN,
    colours: Mapping[str, str] | None = None,
    width: int = 12,
    height: int = 8,
    decimals: int | None = None,
    no_value: str = "No data",
) -> Panel:
    """One bar per series, at the end of the time range."""
    return Panel(
        kind="bargauge",
        title=title,
        description=description,
        unit=unit,
        queries=queries,
        width=width,
        height=height,
        link=link,
        options={
            **_REDUCED,
            "displayMode": "basic",
            "orientation": "horizontal",
            "showUnfilled": True,
            "valueMode": "text",
            "namePlacement": "left",
            "minVizHeight": 14,
            "sizing": "auto",
            "text": {"titleSize": 13, "valueSize": 13},
        },
        defaults={
            "min": 0,
            "thresholds": thresholds(steps),
            "color": {"mode": "thresholds"},
            "noValue": no_value,
            **decimals_of(decimals),
        },
        overrides=[override(name, {"color": fixed_colour(colour)}) for name, colour in (colours or {}).items()],
    )


def decimals_of(decimals: int | None) -> dict[str, int]:
    """The number of decimals as a field option; None leaves it to Grafana."""
    return {} if decimals is None else {"decimals": decimals}
