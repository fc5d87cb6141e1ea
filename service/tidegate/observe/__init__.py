"""Turns events and scopes into Prometheus metrics; the table of all metrics."""
