"""Recording and alert rules as Python, with the thresholds of the dashboards.

`python -m deploy.prometheus` writes the YAML that is shipped.
"""
