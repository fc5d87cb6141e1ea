"""The Grafana dashboards as JSON. `python -m dashboards` writes them from `tidegate.monitoring.dashboards`."""
