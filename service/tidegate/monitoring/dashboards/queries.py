"""PromQL for the metrics of the catalogue, filtered by the variables of the dashboard.

A label that the metric does not have is refused when the dashboards are built, instead of showing an empty panel later.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from tidegate.monitoring.dashboards.variables import FILTERS
from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.catalogue import Metric, MetricType
from tidegate.observe.metrics.labels import SERVED_ROUTES

__all__ = [
    "Query",
    "availability",
    "histogram",
    "increase",
    "nonzero_per_minute",
    "or_zero",
    "quantile",
    "rate",
    "ratio",
    "recorded",
    "select",
    "shared",
    "shared_increase",
    "top",
    "top_and_rest",
    "total",
]

_INTERVAL: Final = "$__rate_interval"
_SHARED: Final = "(shared)"
"""What the catalogue's help says of metrics that are the same in all replicas."""
_OPERATORS: Final = ("=~", "!=", "!~")


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    Attributes:
        expr: the expression in PromQL.
        legend: name of a series, such as `{{pool}}`.
        instant: only the value at the end of the time range.
        format: `time_series`, `table` or `heatmap`.
        exemplars: whether traced examples are drawn beside the series.
    """

    expr: str
    legend: str = ""
    instant: bool = False
    format: str = "time_series"
    exemplars: bool = False


def select(metric: Metric, suffix: str = "", **matchers: str) -> str:
    """The series of a metric that the variables of the dashboard leave.

    Args:
        metric: a row of the catalogue.
        suffix: `_bucket` (which has the label `le`, too) or `_count` of a histogram.
        matchers: labels and their values: `outcome="ok"`; `"!=ok"`, `"=~ok|refused"` and `"!~…"` work, too. A matcher
            replaces the variable of the same name, `""` takes it away; `class_` stands for `class`.

    Raises:
        ValueError: the metric has no such label.
    """
    given = {name.rstrip("_"): value for name, value in matchers.items()}
    _check(metric, given, *(["le"] if suffix == "_bucket" else []))
    filters = {name: f"=~${name}" for name in FILTERS if name in ("job", "instance", *metric.labels)} | given
    conditions = ",".join(_condition(name, value) for name, value in filters.items() if value)
    return f"{metric.name}{suffix}{{{conditions}}}"


def rate(metric: Metric, by: str = "", suffix: str = "", window: str = _INTERVAL, **matchers: str) -> str:
    """How much of a counter comes per second, summed over all replicas; `by` are labels such as `pool, caller`."""
    return f"{_sum(metric, by)} (rate({select(metric, suffix, **matchers)}[{window}]))"


def increase(metric: Metric, by: str = "", suffix: str = "", **matchers: str) -> str:
    """How much of a counter came in the whole time range, summed over all replicas."""
    return f"{_sum(metric, by)} (increase({select(metric, suffix, **matchers)}[$__range]))"


def shared(metric: Metric, by: str, **matchers: str) -> str:
    """A gauge that all replicas show alike: its greatest value, because a sum would count it once per replica."""
    return f"{_max(metric, by)} ({select(metric, **matchers)})"


def shared_increase(metric: Metric, by: str, **matchers: str) -> str:
    """How much of a counter that all replicas show alike came in the whole time range."""
    return f"{_max(metric, by)} (increase({select(metric, **matchers)}[$__range]))"


def total(metric: Metric, by: str, **matchers: str) -> str:
    """A gauge of which each replica shows its own part, summed over all of them."""
    if _SHARED in metric.help:
        raise ValueError(f"{metric.name}: is the same in all replicas; allowed is what each replica has of its own")
    _check(metric, _labels(by))
    return f"sum by ({by}) ({select(metric, **matchers)})"


def nonzero_per_minute(metric: Metric, by: str, **matchers: str) -> str:
    """How often per minute, without what has not happened in a time range: a legend of zeros hides what did."""
    return f"60 * ({rate(metric, by, **matchers)} and {increase(metric, by, **matchers)} > 0)"


def quantile(share: float, metric: Metric, by: str = "", window: str = _INTERVAL, **matchers: str) -> str:
    """The value below which this share (0 to 1) of what a histogram saw lies."""
    _check(metric, _labels(by))
    labels = f"le, {by}" if by else "le"
    buckets = f"sum by ({labels}) (rate({select(metric, '_bucket', **matchers)}[{window}]))"
    return f"histogram_quantile({share:g}, {buckets})"


def histogram(metric: Metric, **matchers: str) -> Query:
    """Buckets of a histogram, for a heatmap."""
    buckets = select(metric, "_bucket", **matchers)
    return Query(f"sum by (le) (increase({buckets}[{_INTERVAL}]))", "{{le}}", format="heatmap")


def top(most: int, metric: Metric, by: str, **matchers: str) -> str:
    """Of the values that labels such as `caller` have, those for which most of a counter came in the whole time range.

    They are the same at each moment of the range: a graph does not change its series on the way.
    """
    return f"topk({most}, {_sum(metric, by)} (increase({select(metric, **matchers)}[$__range] @ end())))"


def top_and_rest(expr: str, legend: str, *, by: str, of: str, rest: str, exemplars: bool = False) -> list[Query]:
    """Series of those only that `greatest` tells, and one for all others together, called `rest`."""
    return [
        Query(f"({expr}) and on ({by}) {of}", legend, exemplars=exemplars),
        Query(f"sum(({expr}) unless on ({by}) {of})", rest),
    ]


def or_zero(part: str, whole: str) -> str:
    """Part, and 0 where it has not happened yet though there is a whole with the same labels."""
    return f"({part}) or 0 * ({whole})"


def ratio(part: str, whole: str) -> str:
    """Part by whole: 0 where the part has not happened yet, nothing where there is no whole."""
    return f"({or_zero(part, whole)}) / (({whole}) > 0)"


def availability(over: Callable[..., str]) -> str:
    """Share of calls that were answered, of those that failed through no fault of their caller or did not fail.

    `over` is `rate` or `increase`. The variable for callers does not filter it: whose calls failed is not counted.
    """
    bad = over(catalogue.FAILED_CALLS)
    good = over(catalogue.REQUESTS, outcome="ok", route=f"=~{SERVED_ROUTES}", caller="")
    return f"1 - {ratio(bad, f'(({good}) or vector(0)) + ({bad})')}"


def recorded(name: str, *labels: str) -> str:
    """The series of a recording rule, by job; `labels` are those of the variables that it has, too."""
    conditions = ",".join(f'{label}=~"${label}"' for label in ("job", *labels))
    return f"{name}{{{conditions}}}"


def _max(metric: Metric, by: str) -> str:
    if _SHARED not in metric.help:
        raise ValueError(f"{metric.name}: is each replica's own; allowed is what all replicas show alike")
    _check(metric, _labels(by))
    return f"max by ({by})"


def _sum(metric: Metric, by: str) -> str:
    if metric.type is MetricType.GAUGE:
        raise ValueError(f"{metric.name}: is a gauge; allowed are counters and histograms")
    _check(metric, _labels(by))
    return f"sum by ({by})" if by else "sum"


def _labels(by: str) -> list[str]:
    return [label.strip() for label in by.split(",") if label]


def _check(metric: Metric, names: Iterable[str], *further: str) -> None:
    allowed = {"job", "instance", *metric.labels, *further}
    if unknown := set(names) - allowed:
        raise ValueError(f"{metric.name}: has no label {', '.join(sorted(unknown))}; allowed are {sorted(allowed)}")


def _condition(label: str, value: str) -> str:
    operator = next((sign for sign in _OPERATORS if value.startswith(sign)), "")
    return f'{label}{operator or "="}"{value.removeprefix(operator)}"'
