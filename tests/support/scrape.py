"""Scrapes a registry."""

from prometheus_client import CollectorRegistry

from tidegate.observe.metrics.exposition import Exposition

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def scrape(registry: CollectorRegistry, accept: str = "") -> bytes:
    """The second scrape: in the first one in OpenMetrics every counter is 0."""
    exposition = Exposition(registry)
    first, second = (b"".join(exposition.pieces(accept)[1]) for _ in range(2))
    assert first
    return second
