"""Names, types, labels, units and help of metrics are a public interface: dashboards and alerts are built on them."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family

from support.scrape import OPENMETRICS, scrape
from tidegate.observe.metrics.catalogue import CATALOGUE, MetricType


def test_the_catalogue_and_a_scrape_are_as_published(
    golden: Callable[[Path, str], None], registry: CollectorRegistry
) -> None:
    table = [
        f"{metric.name} {metric.type} unit={metric.unit or '-'} labels={','.join(metric.labels) or '-'}\n"
        f"  {metric.help}\n" + (f"  buckets={','.join(map(str, metric.buckets))}\n" if metric.buckets else "")
        for metric in CATALOGUE
    ]
    text = scrape(registry, OPENMETRICS).decode()
    # Values of the process and the interpreter differ from run to run: their names and types are compared.
    lines = (line for line in text.splitlines(keepends=True) if not line.startswith(("process_", "python_")))
    golden(Path(__file__).with_name("metrics.golden.txt"), "".join([*table, "\n", *lines]))


def test_everything_in_the_catalogue_is_exported_and_nothing_else(registry: CollectorRegistry) -> None:
    exported = {(_full_name(family), family.type, family.unit) for family in _ours(registry)}

    assert exported == {(metric.name, metric.type, metric.unit) for metric in CATALOGUE}


def test_every_sample_has_the_labels_of_the_catalogue(registry: CollectorRegistry) -> None:
    labels = {metric.name: {*metric.labels} for metric in CATALOGUE}

    for family in _ours(registry):
        assert family.samples, f"{family.name} has no sample after one event of each kind"
        for sample in family.samples:
            assert sample.labels.keys() - {"le"} == labels[_full_name(family)]


def test_no_value_is_infinite_or_not_a_number(registry: CollectorRegistry) -> None:
    for family in registry.collect():
        for sample in family.samples:
            assert math.isfinite(sample.value), sample


def test_names_and_units_follow_the_conventions() -> None:
    for metric in CATALOGUE:
        assert metric.name.startswith("tidegate_")
        assert metric.name.endswith("_total") == (metric.type is MetricType.COUNTER)
        assert bool(metric.buckets) == (metric.type is MetricType.HISTOGRAM)
        assert not metric.unit or metric.name.endswith(f"_{metric.unit}")


def _ours(registry: CollectorRegistry) -> Iterator[Family]:
    return (family for family in registry.collect() if family.name.startswith("tidegate_"))


def _full_name(family: Family) -> str:
    return f"{family.name}_total" if family.type == MetricType.COUNTER else family.name
