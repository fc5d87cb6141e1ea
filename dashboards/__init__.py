"""Grafana dashboards as JSON, generated from `tidegate.monitoring.dashboards`."""
