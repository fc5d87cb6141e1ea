"""The kinds of panels in use, each with the options that make it readable."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tidegate.monitoring.dashboards.links import Link
from tidegate.monitoring.dashboards.panels import Panel, Step, fixed_colour, override, shades_of, thresholds
from tidegate.monitoring.dashboards.queries import Query
from tidegate.monitoring.dashboards.units import COUNT

__all__ = ["PLAIN", "bars", "decimals_of", "heatmap", "stat", "states", "timeseries"]

PLAIN: Final[tuple[Step, ...]] = ((None, "text"),)
"""Of a number without an alert."""
_REDUCED: Final = {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False}}
_STACKED: Final = {"mode": "normal", "group": "A"}
_NOT_STACKED: Final = {"mode": "none", "group": "A"}
_LEGEND: Final = {"displayMode": "table", "placement": "right", "showLegend": True}
_SMALL_LEGEND: Final = {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []}
"""Of panels that are too narrow for a table beside them."""


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
    named: bool = False,
    decimals: int | None = None,
) -> Panel:
    """One number. `named` shows the name of the series above it."""
    return Panel(
        kind="stat",
        title=title,
        description=description,
        unit=unit,
        queries=[query],
        width=width,
        height=height,
        link=link,
        options={
            **_REDUCED,
            "colorMode": "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "textMode": "value_and_name" if named else "value",
            "wideLayout": False,
        },
        defaults={
            "thresholds": thresholds(steps),
            "noValue": no_value,
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
    most: float | None = None,
    logarithmic: bool = False,
    dashed: str | None = None,
    calculations: Sequence[str] = ("max", "lastNotNull"),
    no_value: str = "No data",
) -> Panel:
    """Series over time.

    `stacked` puts each series on top of those before it. `colours`, `shades` and `dashed` name series, or match them by
    a `/regular expression/`; what shares a colour by `shades` differs in lightness, dashed are limits rather than
    measurements. `limits` are dashed lines where alerts begin,
    `most` is the end of the axis where nothing can be more, `logarithmic` is for values that are orders of magnitude
    apart, and `calculations` are the columns of the legend.
    """
    custom: dict[str, Any] = {
        "drawStyle": "line",
        "lineWidth": 1,
        # Several lines at the same height would fill the panel with mud.
        "fillOpacity": 50 if stacked else 0,
        "gradientMode": "none",
        "showPoints": "never",
        "spanNulls": False,
        "stacking": _STACKED if stacked else _NOT_STACKED,
        "scaleDistribution": {"type": "log", "log": 10} if logarithmic else {"type": "linear"},
        "thresholdsStyle": {"mode": "dashed" if limits else "off"},
    }
    overrides = [override(name, {"color": fixed_colour(colour)}) for name, colour in (colours or {}).items()]
    overrides += [override(name, {"color": shades_of(colour)}) for name, colour in (shades or {}).items()]
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
            # Zero is no place on a logarithmic axis.
            **({} if logarithmic else {"min": 0}),
            "noValue": no_value,
            "thresholds": thresholds([(None, "transparent"), *limits]),
            **({} if most is None else {"max": most}),
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
    """How often each range of values came, over time. `unit` is that of the values; the colours are counts."""
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
    """States over time, a row each. `names` gives the word and the colour of each value."""
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
    most: float | None = None,
    decimals: int | None = None,
    names_above: bool = False,
    no_value: str = "No data",
) -> Panel:
    """A bar for each series, for the end of the time range. `names_above` gives long names the whole width."""
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
            "namePlacement": "top" if names_above else "left",
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
            **({} if most is None else {"max": most}),
        },
        overrides=[override(name, {"color": fixed_colour(colour)}) for name, colour in (colours or {}).items()],
    )


def decimals_of(decimals: int | None) -> dict[str, int]:
    """Installation after the point as a field option; None leaves them to Grafana."""
    return {} if decimals is None else {"decimals": decimals}
