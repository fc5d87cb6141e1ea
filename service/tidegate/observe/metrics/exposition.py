"""What a scrape of `/metrics` gets."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric, Sample
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from prometheus_client.registry import Collector

from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.catalogue import MetricType

__all__ = ["MOST_SAMPLES", "Exposition", "new_registry"]

MOST_SAMPLES: Final = 250
"""Samples in one piece of a scrape: a few milliseconds of work."""

_WATCHED_SECONDS: Final = 300.0
"""Since the scrape before, or since the start: scrapes are seconds or a few minutes apart."""
_OURS: Final = "tidegate_"
"""Metrics of the process and the interpreter count no events that anybody would miss."""


class Exposition:
    """Renders a registry in the format that the scraper asks for.

    In OpenMetrics, which is what Prometheus asks for and people do not, a counter's series that is new since the scrape
    before, or since the start, is shown at 0, and at its count from the next scrape on. Prometheus takes what a series
    begins with for no increase, and would miss the first refusal of a caller or the first money that it spends on a
    model. Of several scrapers one sees the 0. What has come about while nobody scraped is shown as it is: it would look
    like a burst.

    Args:
        registry: what is rendered.
        now_seconds: a clock that only goes forward.
    """

    def __init__(self, registry: CollectorRegistry, now_seconds: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._now_seconds = now_seconds
        self._scraped_seconds = now_seconds()
        self._shown: set[tuple[str, ...]] = set()

    def pieces(self, accept: str = "") -> tuple[str, Iterator[bytes]]:
        """Content type and body for an `Accept` header: OpenMetrics if it asks for it, Prometheus text otherwise.

        Each piece is rendered when it is taken, so that an event loop can serve others in between: thousands of series
        take tens of milliseconds, and in a thread they would hold the interpreter's lock as long.
        """
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:
            # prometheus_client 0.26 compares a version that is no number with numbers.
            encode, content_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
        families = self._registry.collect()
        if not content_type.startswith("text/plain"):
            now_seconds = self._now_seconds()
            is_watched = now_seconds - self._scraped_seconds <= _WATCHED_SECONDS
            self._scraped_seconds = now_seconds
            families = (self._begun_at_zero(family, is_watched=is_watched) for family in families)
        return content_type, _rendered(families, encode)

    def _begun_at_zero(self, family: Metric, *, is_watched: bool) -> Metric:
        if family.type == MetricType.COUNTER and family.name.startswith(_OURS):
            for index, sample in enumerate(family.samples):
                series = (sample.name, *sample.labels.values())
                if series not in self._shown:
                    self._shown.add(series)
                    if is_watched:
                        family.samples[index] = Sample(sample.name, sample.labels, 0.0)
        return family


def _rendered(families: Iterable[Metric], encode: Callable[[Collector], bytes]) -> Iterator[bytes]:
    end = encode(_Some())  # of OpenMetrics; nothing in the other format
    for family in families:
        for start in range(0, len(family.samples) or 1, MOST_SAMPLES):
            some = Metric(family.name, family.documentation, family.type, family.unit)
            some.samples = family.samples[start : start + MOST_SAMPLES]
            text = encode(_Some(some)).removesuffix(end)
            yield text if start == 0 else _without_head(text)
    yield end


def _without_head(text: bytes) -> bytes:
    """The samples alone: name, type and help of a family stand before the first of its pieces."""
    while text.startswith(b"#"):
        text = text.partition(b"\n")[2]
    return text


class _Some(Collector):
    """A family, or none, for the encoder."""

    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def new_registry(version: str, revision: str, upstream: str) -> CollectorRegistry:
    """A registry with `build_info` and the metrics of the process, its garbage collector and its interpreter.

    Args:
        version: version of Tidegate.
        revision: commit that was built, or `unknown`.
        upstream: `claude` or `simulator`.
    """
    registry = CollectorRegistry()
    registry.register(_BuildInfo(version, revision, upstream))
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


class _BuildInfo(Collector):
    """One sample that never changes."""

    def __init__(self, *labels: str) -> None:
        metric = catalogue.BUILD_INFO
        self._family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        self._family.add_metric(labels, 1)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        return iter([self._family])
