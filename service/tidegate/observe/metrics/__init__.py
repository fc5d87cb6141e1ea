"""Prometheus metrics: the catalogue, the counters fed by events, the collectors read at a scrape, the exposition."""
