"""What a scrape of a registry gets, at once."""

from prometheus_client import CollectorRegistry

from tidegate.observe.exposition import Exposition

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def scrape(registry: CollectorRegistry, accept: str = "") -> bytes:
    _, pieces = Exposition(registry).pieces(accept)
    return b"".join(pieces)
