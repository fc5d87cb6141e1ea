"""The Grafana dashboards as Python. `python -m dashboards` writes the JSON that is shipped."""
