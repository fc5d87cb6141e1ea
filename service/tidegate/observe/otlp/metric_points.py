"""Converts the families of a Prometheus registry to OpenTelemetry's metrics. Pure, but for the SDK's types."""

import math
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from typing import Final

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)
from prometheus_client.core import Exemplar as Shown
from prometheus_client.core import Metric as Family
from prometheus_client.core import Sample

from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.ports.span_attributes import OPERATION_DURATION, SERVER_PORT, TOKEN_USAGE

__all__ = ["metric_of"]

_UNITS: Final = {"seconds": "s", "bytes": "By", OPERATION_DURATION: "s", TOKEN_USAGE: "{token}"}
"""Units of OTLP by unit, or by name: prometheus_client appends a family's unit to its name."""
_Series = tuple[tuple[str, str], ...]
_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE


def metric_of(family: Family, started_unix_ns: int, now_unix_ns: int) -> Metric | None:
    """The metric of a family, under the name that `/metrics` shows; None if it has no points, or is of another type.

    Counters become monotonic sums, and histograms keep their buckets; both are cumulative. Samples `…_created` say when
    a series began. The others began at `started_unix_ns`.

    Args:
        family: a counter, a gauge or a histogram.
        started_unix_ns: start of the process, as Unix time in nanoseconds.
        now_unix_ns: time of the samples.
    """
    unit = _UNITS.get(family.unit or family.name, "1")
    if family.type == "histogram":
        histograms = tuple(_histogram_points(family, started_unix_ns, now_unix_ns))
        data = Histogram(histograms, _CUMULATIVE) if histograms else None
        return None if data is None else Metric(family.name, family.documentation, unit, data)
    if family.type == "counter":
        name = f"{family.name}_total"
        points = tuple(_points(family, name, started_unix_ns, now_unix_ns))
        sums = Sum(points, _CUMULATIVE, is_monotonic=True)
        return Metric(name, family.documentation, unit, sums) if points else None
    points = tuple(_points(family, family.name, started_unix_ns, now_unix_ns)) if family.type == "gauge" else ()
    return Metric(family.name, family.documentation, unit, Gauge(points)) if points else None


def _points(family: Family, name: str, started_unix_ns: int, now_unix_ns: int) -> Iterator[NumberDataPoint]:
    began = _beginnings(family)
    for sample in family.samples:
        if sample.name == name and math.isfinite(sample.value):
            series = _series(sample)
            start_ns = began.get(series, started_unix_ns)
            yield NumberDataPoint(_attributes(series), start_ns, now_unix_ns, sample.value, _exemplars([sample]))


def _histogram_points(family: Family, started_unix_ns: int, now_unix_ns: int) -> Iterator[HistogramDataPoint]:
    began = _beginnings(family)
    sums = {_series(sample): sample.value for sample in family.samples if sample.name == f"{family.name}_sum"}
    buckets = (sample for sample in family.samples if sample.name == f"{family.name}_bucket")
    for series, group in groupby(buckets, key=_series):
        bucket = list(group)
        seen = [0.0, *(sample.value for sample in bucket)]
        counts = [round(later - before) for before, later in pairwise(seen)]
        yield HistogramDataPoint(
            attributes=_attributes(series),
            start_time_unix_nano=began.get(series, started_unix_ns),
            time_unix_nano=now_unix_ns,
            count=round(seen[-1]),
            sum=sums[series],
            bucket_counts=counts,
            explicit_bounds=[float(sample.labels["le"]) for sample in bucket[:-1]],
            min=None,  # type: ignore[arg-type]  # not known; OTLP's fields are optional
            max=None,  # type: ignore[arg-type]
            exemplars=_exemplars(bucket),
        )


def _attributes(series: _Series) -> dict[str, str | int]:
    """The attributes of a series, in the types of the semantic conventions. An empty label means that there is none."""
    return {name: int(value) if name == SERVER_PORT else value for name, value in series if value}


def _series(sample: Sample) -> _Series:
    return tuple((name, value) for name, value in sample.labels.items() if name != "le")


def _beginnings(family: Family) -> dict[_Series, int]:
    created = (sample for sample in family.samples if sample.name == f"{family.name}_created")
    return {_series(sample): round(sample.value * NS_PER_SECOND) for sample in created}


def _exemplars(samples: Iterable[Sample]) -> list[Exemplar]:
    return [_exemplar(sample.exemplar) for sample in samples if sample.exemplar is not None]


def _exemplar(shown: Shown) -> Exemplar:
    ids = dict(shown.labels)
    trace_id, span_id = int(ids.pop("trace_id"), 16), int(ids.pop("span_id"), 16)
    unix_ns = round(float(shown.timestamp or 0.0) * NS_PER_SECOND)
    return Exemplar(ids, shown.value, unix_ns, span_id, trace_id)
