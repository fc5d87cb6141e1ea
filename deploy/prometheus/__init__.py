"""Prometheus configuration, and the rules generated from `tidegate.monitoring.rules`."""
