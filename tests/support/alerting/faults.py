"""Every fault: a module for each group of alerts."""

from support.alerting import limits, objectives, replicas, service, upkeep, upstream
from support.alerting.fault import FAULTS

__all__ = ["FAULTS", "limits", "objectives", "replicas", "service", "upkeep", "upstream"]
