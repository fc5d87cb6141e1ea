"""Prometheus recording and alert rules, generated with the same thresholds as the dashboards.

`python -m deploy.prometheus` writes the YAML files of the repository.
"""
