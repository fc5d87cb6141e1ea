"""The metrics registry, and its rendering for a scrape of `/metrics`."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric, Sample
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from prometheus_client.registry import Collector

from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.catalogue import MetricType

__all__ = ["MAX_SAMPLES", "Exposition", "new_registry"]

MAX_SAMPLES: Final = 250
"""Samples in one piece of a scrape: a few milliseconds of work."""

_MAX_GAP_SECONDS: Final = 300.0
"""A longer gap between two scrapes counts as an outage of the scraper."""
_PREFIX: Final = "tidegate_"
"""Only counters with this prefix start at 0; metrics of the process and the interpreter need not."""


class Exposition:
    """Renders a registry in the format that the scraper accepts.

    In OpenMetrics, which Prometheus asks for, a counter series that is new since the previous scrape is shown at 0 once
    and at its count from the next scrape on. Prometheus does not count the first value of a series as an increase, so
    without this it would miss the first refusal of a caller, or its first cost of a model. With several scrapers, only
    one sees the 0. After a gap in scraping, new series show their count at once: starting them at 0 would look like a
    burst.

    Args:
        registry: the metrics to render.
        now_seconds: a monotonic clock.
    """

    def __init__(self, registry: CollectorRegistry, now_seconds: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._now_seconds = now_seconds
        self._scraped_seconds = now_seconds()
        self._shown: set[tuple[str, ...]] = set()

    def pieces(self, accept: str = "") -> tuple[str, Iterator[bytes]]:
        """Content type and body for an `Accept` header: OpenMetrics if it is accepted, Prometheus text otherwise.

        Each piece is rendered when it is taken, so that the event loop can serve calls in between. Thousands of series
        take tens of milliseconds, and a thread would hold the GIL for as long.
        """
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:
            # prometheus_client 0.26 fails on a version parameter that is not a number.
            encode, content_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
        families = self._registry.collect()
        if not content_type.startswith("text/plain"):
            now_seconds = self._now_seconds()
            from_zero = now_seconds - self._scraped_seconds <= _MAX_GAP_SECONDS
            self._scraped_seconds = now_seconds
            families = (self._marked_shown(family, from_zero=from_zero) for family in families)
        return content_type, _rendered(families, encode)

    def _marked_shown(self, family: Metric, *, from_zero: bool) -> Metric:
        """Marks the series of a counter as shown, and replaces the values of new ones by 0."""
        if family.type == MetricType.COUNTER and family.name.startswith(_PREFIX):
            for index, sample in enumerate(family.samples):
                series = (sample.name, *sample.labels.values())
                if series not in self._shown:
                    self._shown.add(series)
                    if from_zero:
                        family.samples[index] = Sample(sample.name, sample.labels, 0.0)
        return family


def _rendered(families: Iterable[Metric], encode: Callable[[Collector], bytes]) -> Iterator[bytes]:
    end = encode(_Families())  # `# EOF` in OpenMetrics, nothing in Prometheus text
    for family in families:
        for start in range(0, len(family.samples) or 1, MAX_SAMPLES):
            piece = Metric(family.name, family.documentation, family.type, family.unit)
            piece.samples = family.samples[start : start + MAX_SAMPLES]
            text = encode(_Families(piece)).removesuffix(end)
            yield text if start == 0 else _without_comments(text)
    yield end


def _without_comments(text: bytes) -> bytes:
    """The samples without type and help, which only the first piece of a family has."""
    while text.startswith(b"#"):
        text = text.partition(b"\n")[2]
    return text


class _Families(Collector):
    """Passes families to an encoder, which takes a collector."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def new_registry(version: str, revision: str, upstream: str) -> CollectorRegistry:
    """A registry with `build_info` and metrics of the process, the garbage collector and the interpreter.

    Args:
        version: version of Tidegate.
        revision: commit of the build, or `unknown`.
        upstream: `claude` or `simulator`.
    """
    registry = CollectorRegistry()
    registry.register(_BuildInfo(version, revision, upstream))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


class _BuildInfo(Collector):
    """Exports the constant `build_info`."""

    def __init__(self, *labels: str) -> None:
        metric = catalogue.BUILD_INFO
        self._family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        self._family.add_metric(labels, 1)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        return iter([self._family])
