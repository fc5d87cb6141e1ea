"""Prometheus metrics: the catalogue, what counts, and the exposition."""
