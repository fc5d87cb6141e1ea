"""Dashboards, alert rules, runbooks and Alertmanager's routes, written for one installation by `export`."""

from pathlib import Path
from typing import Final

__all__ = ["ALERTMANAGER_FILE", "RUNBOOKS_FOLDER"]

ALERTMANAGER_FILE: Final = Path(__file__).with_name("alertmanager.yml")
RUNBOOKS_FOLDER: Final = Path(__file__).with_name("runbooks")
