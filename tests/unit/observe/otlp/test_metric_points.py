"""Families of a Prometheus registry as OpenTelemetry's metrics."""

from collections.abc import Iterator
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Metric, NumberDataPoint, Sum
from prometheus_client import CollectorRegistry
from prometheus_client import Counter as StockCounter
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.instruments import Instruments
from tidegate.observe.otlp.metric_points import metric_of

STARTED_NS, NOW_NS = 1_000, 5_000
TRACED = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}


def metrics_of(registry: CollectorRegistry) -> dict[str, Metric]:
    found = [metric_of(family, STARTED_NS, NOW_NS) for family in registry.collect()]
    return {metric.name: metric for metric in found if metric is not None}


def test_a_counter_is_a_monotonic_sum_under_the_name_that_a_scrape_shows() -> None:
    registry = CollectorRegistry()
    counter = Instruments(registry).counter(catalogue.RETRIES)
    counter["sonnet-5-5", "timeout"].inc(2, TRACED)
    metric = metrics_of(registry)["tidegate_retries_total"]
    assert metric.description == catalogue.RETRIES.help
    assert isinstance(metric.data, Sum)
    assert metric.data.is_monotonic
    assert metric.data.aggregation_temporality is AggregationTemporality.CUMULATIVE
    (point,) = metric.data.data_points
    assert point.attributes == {"pool": "sonnet-5-5", "reason": "timeout"}
    assert (point.value, point.start_time_unix_nano, point.time_unix_nano) == (2, STARTED_NS, NOW_NS)
    (exemplar,) = point.exemplars
    assert (exemplar.trace_id, exemplar.span_id) == (int(TRACED["trace_id"], 16), int(TRACED["span_id"], 16))
    assert (exemplar.value, exemplar.filtered_attributes) == (2, {})


@given(st.lists(st.floats(0, 700), max_size=30))
def test_a_histogram_keeps_its_buckets_its_count_and_its_sum(seconds: list[float]) -> None:
    registry = CollectorRegistry()
    histogram = Instruments(registry).histogram(catalogue.RETRY_WAIT)
    child = histogram["sonnet-5-5", "timeout"]
    for each in seconds:
        child.observe(each)
    metric = metrics_of(registry)["tidegate_retry_wait_seconds"]
    assert metric.unit == "s"
    assert isinstance(metric.data, Histogram)
    (point,) = metric.data.data_points
    assert point.attributes == {"pool": "sonnet-5-5", "reason": "timeout"}
    assert tuple(point.explicit_bounds) == catalogue.RETRY_WAIT.buckets
    below = [sum(each <= bound for each in seconds) for bound in point.explicit_bounds]
    assert list(accumulate(point.bucket_counts)) == [*below, len(seconds)]
    assert point.count == len(seconds)
    assert point.sum == pytest.approx(sum(seconds))


def test_each_series_of_a_histogram_has_a_point_of_its_own() -> None:
    registry = CollectorRegistry()
    histogram = Instruments(registry).histogram(catalogue.RETRY_WAIT)
    histogram["a", "timeout"].observe(1)
    histogram["b", "timeout"].observe(100, TRACED)
    metric = metrics_of(registry)["tidegate_retry_wait_seconds"]
    first, second = metric.data.data_points
    assert isinstance(metric.data, Histogram)
    assert [first.attributes, second.attributes] == [
        {"pool": "a", "reason": "timeout"},
        {"pool": "b", "reason": "timeout"},
    ]
    assert [len(first.exemplars), len(second.exemplars)] == [0, 1]


class _Gauges(Collector):
    def collect(self) -> Iterator[Family]:
        family = GaugeMetricFamily("gauge", "help", labels=["pool", "source"])
        family.add_metric(["a", ""], 1.5)
        family.add_metric(["b", "upstream"], float("inf"))
        yield family
        yield GaugeMetricFamily("empty", "help", labels=["pool"])
        yield InfoMetricFamily("info", "help", {"version": "1"})


def test_gauges_are_exported_without_empty_attributes_and_infinite_values() -> None:
    registry = CollectorRegistry()
    registry.register(_Gauges())
    metrics = metrics_of(registry)
    assert list(metrics) == ["gauge"], "neither families without points nor other types"
    assert isinstance(metrics["gauge"].data, Gauge)
    (point,) = metrics["gauge"].data.data_points
    assert isinstance(point, NumberDataPoint)
    assert (point.attributes, point.value) == ({"pool": "a"}, 1.5)


def test_a_series_that_says_when_it_began_is_believed() -> None:
    registry = CollectorRegistry()
    StockCounter("stock", "help", registry=registry).inc()
    data = metrics_of(registry)["stock_total"].data
    assert isinstance(data, Sum)
    (point,) = data.data_points
    assert point.start_time_unix_nano > 1_700_000_000 * 10**9
    assert point.value == 1
