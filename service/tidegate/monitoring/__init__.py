"""Grafana dashboards, Prometheus rules, runbooks and Alertmanager routes. `export` writes them for an installation."""

from pathlib import Path
from typing import Final

__all__ = ["ALERTMANAGER_FILE", "RUNBOOKS_FOLDER", "RUNBOOKS_URL"]

ALERTMANAGER_FILE: Final = Path(__file__).with_name("alertmanager.yml")
RUNBOOKS_FOLDER: Final = Path(__file__).with_name("runbooks")
RUNBOOKS_URL: Final = "service/tidegate/monitoring/runbooks"
"""Base URL of the runbooks in the generated files of the repository; `export` writes another one."""
