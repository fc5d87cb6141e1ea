"""Builds PromQL for metrics of the catalogue, filtered by the dashboard's variables.

An unknown label raises an error when the dashboards are generated, instead of leaving a panel empty later.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from tidegate.monitoring.dashboards.variables import FILTERS
from tidegate.monitoring.replica_sums import lowest, over_replicas
from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.catalogue import Metric, MetricType
from tidegate.observe.metrics.labels import SERVED_ROUTES

__all__ = [
    "OTHERS",
    "Query",
    "availability",
    "histogram",
    "increase",
    "limit_used",
    "nonzero_per_minute",
    "or_zero",
    "quantile",
    "quantiles",
    "rate",
    "ratio",
    "recorded",
    "select",
    "shared",
    "top",
    "top_and_rest",
    "total",
]

OTHERS: Final = "others"
"""The name of the sum of all series that have no name of their own in a graph."""
_INTERVAL: Final = "$__rate_interval"
_SHARED: Final = "(shared)"
"""Marks metrics that are the same in all replicas, in the catalogue's help."""
_OPERATORS: Final = ("=~", "!=", "!~")


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel.

    Attributes:
        expr: the expression in PromQL.
        legend: name of a series, such as `{{pool}}`.
        instant: whether only the value at the end of the time range is queried.
        format: `time_series`, `table` or `heatmap`.
        exemplars: whether exemplars are shown.
    """

    expr: str
    legend: str = ""
    instant: bool = False
    format: str = "time_series"
    exemplars: bool = False


def select(metric: Metric, suffix: str = "", **matchers: str) -> str:
    """Selects the series of a metric, filtered by the dashboard's variables.

    Args:
        metric: a row of the catalogue.
        suffix: `_bucket` (which adds the label `le`) or `_count` of a histogram.
        matchers: labels and values, such as `outcome="ok"`, `"!=ok"`, `"=~ok|refused"` or `"!~…"`. A matcher replaces
            the variable of the same name, and `""` removes it. `class_` stands for `class`.

    Raises:
        ValueError: the metric has no such label.
    """
    given = {name.rstrip("_"): value for name, value in matchers.items()}
    _check(metric, given, *(["le"] if suffix == "_bucket" else []))
    filters = {name: f"=~${name}" for name in FILTERS if name in ("job", "instance", *metric.labels)} | given
    conditions = ",".join(_condition(name, value) for name, value in filters.items() if value)
    return f"{metric.name}{suffix}{{{conditions}}}"


def rate(metric: Metric, by: str = "", suffix: str = "", window: str = _INTERVAL, **matchers: str) -> str:
    """The rate of a counter per second, summed over all replicas. `by` are labels such as `pool, caller`."""
    return f"{_sum(metric, by)} (rate({select(metric, suffix, **matchers)}[{window}]))"


def increase(metric: Metric, by: str = "", suffix: str = "", **matchers: str) -> str:
    """The increase of a counter in the time range, summed over all replicas."""
    return f"{_sum(metric, by)} (increase({select(metric, suffix, **matchers)}[$__range]))"


def shared(metric: Metric, by: str, **matchers: str) -> str:
    """A gauge marked as shared, for all replicas together; see `over_replicas`.

    The effective limit is at most the upstream's, which applies to all replicas together.
    """
    if _SHARED not in metric.help:
        raise ValueError(f"{metric.name}: differs between replicas; allowed are metrics marked as shared")
    _check(metric, _labels(by))
    source = matchers.get("source")
    if source == "upstream":
        return f"max by ({by}) ({select(metric, **matchers)})"
    value = over_replicas(metric, select(metric, **matchers), select(catalogue.DEGRADED), by)
    if source == "effective":
        return lowest(by, value, shared(metric, by, **{**matchers, "source": "upstream"}))
    return value


def limit_used(by: str, **matchers: str) -> str:
    """The used share of the effective limit: the greatest among those with the same labels `by`.

    Each job has limits of its own.
    """
    labels = "job, pool, dimension"
    used = f"60 * {rate(catalogue.QUOTA_CHARGED, by=labels, **matchers)}"
    limit = shared(catalogue.LIMIT_PER_MINUTE, labels, **matchers, source="effective")
    return f"max by ({by}) ({used} / {limit})"


def total(metric: Metric, by: str, **matchers: str) -> str:
    """The sum of a gauge over all replicas."""
    if _SHARED in metric.help:
        raise ValueError(f"{metric.name}: is the same in all replicas; allowed are metrics of a single replica")
    _check(metric, _labels(by))
    return f"sum by ({by}) ({select(metric, **matchers)})"


def nonzero_per_minute(metric: Metric, by: str, **matchers: str) -> str:
    """The rate per minute, without series that did not increase in the time range, which would fill the legend."""
    return f"60 * ({rate(metric, by, **matchers)} and {increase(metric, by, **matchers)} > 0)"


def quantile(share: float, metric: Metric, by: str = "", window: str = _INTERVAL, **matchers: str) -> str:
    """A quantile of a histogram; `share` is from 0 to 1. It is absent without observations, instead of NaN."""
    _check(metric, _labels(by))
    labels = f"le, {by}" if by else "le"
    buckets = f"sum by ({labels}) (rate({select(metric, '_bucket', **matchers)}[{window}]))"
    return f"(histogram_quantile({share:g}, {buckets}) >= 0)"


def quantiles(metric: Metric) -> list[Query]:
    """The 50th, 95th and 99th percentile of a histogram, the highest first."""
    return [Query(quantile(percent / 100, metric), f"p{percent}", exemplars=percent == 99) for percent in (99, 95, 50)]


def histogram(metric: Metric, **matchers: str) -> Query:
    """Buckets of a histogram, for a heatmap. The last, infinite one has no place on the axis."""
    buckets = select(metric, "_bucket", **{"le": "!=+Inf", **matchers})
    return Query(f"sum by (le) (increase({buckets}[{_INTERVAL}]))", "{{le}}", format="heatmap")


def top(count: int, metric: Metric, by: str, suffix: str = "", **matchers: str) -> str:
    """The label values with the greatest increase of a counter, or of a histogram's `_sum`, in the time range.

    They are the same at each moment of the range, so that a graph keeps its series.
    """
    return f"topk({count}, {_sum(metric, by)} (increase({select(metric, suffix, **matchers)}[$__range] @ end())))"


def top_and_rest(expr: str, legend: str, *, by: str, of: str, exemplars: bool = False) -> list[Query]:
    """Queries for the series selected by `top`, and for the sum of all `OTHERS`."""
    return [
        Query(f"({expr}) and on ({by}) {of}", legend, exemplars=exemplars),
        Query(f"sum(({expr}) unless on ({by}) {of})", OTHERS),
    ]


def or_zero(part: str, whole: str) -> str:
    """The part, or 0 if only the whole exists with the same labels."""
    return f"({part}) or 0 * ({whole})"


def ratio(part: str, whole: str) -> str:
    """Part divided by whole: 0 if only the part is missing, empty without a whole."""
    return f"({or_zero(part, whole)}) / (({whole}) > 0)"


def availability(over: Callable[..., str]) -> str:
    """The share of calls that did not fail; excludes client errors and refusals.

    `over` is `rate` or `increase`. The variable `caller` does not filter it, because failed calls have no such label.
    """
    bad = over(catalogue.FAILED_CALLS)
    good = over(catalogue.REQUESTS, outcome="ok", route=f"=~{SERVED_ROUTES}", caller="")
    return f"1 - {ratio(bad, f'(({good}) or vector(0)) + ({bad})')}"


def recorded(name: str, *labels: str) -> str:
    """The series of a recording rule, filtered by the variables `job` and `labels`."""
    conditions = ",".join(f'{label}=~"${label}"' for label in ("job", *labels))
    return f"{name}{{{conditions}}}"


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
