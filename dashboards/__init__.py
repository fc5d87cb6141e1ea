"""The Grafana dashboards as Python. `python -m dashboards` writes the JSON into `json/`."""
