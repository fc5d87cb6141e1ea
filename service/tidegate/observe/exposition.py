"""What a scrape of `/metrics` gets."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder
from prometheus_client.registry import Collector

from tidegate.observe import catalogue

__all__ = ["Exposition", "new_registry"]


class Exposition:
    """Renders a registry in the format that the scraper asks for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def render(self, accept: str = "") -> tuple[str, bytes]:
        """Content type and body for an `Accept` header: OpenMetrics if it asks for it, Prometheus text otherwise.

        Takes milliseconds per thousand series; may be called from any thread.
        """
        try:
            encode, content_type = choose_encoder(accept)
        except TypeError:
            # prometheus_client 0.26 compares a version that is no number with numbers.
            encode, content_type = generate_latest, CONTENT_TYPE_PLAIN_0_0_4
        return content_type, encode(self._registry)


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
