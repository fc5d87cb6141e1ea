"""Recording and alert rules as Python, with the thresholds of the dashboards; builds the YAML in `rules/`."""
