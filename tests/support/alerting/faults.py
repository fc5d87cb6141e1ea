"""Every fault: a module for each group of alerts."""

from support.alerting import limits, objectives, service, upstream
from support.alerting.fault import FAULTS

__all__ = ["FAULTS", "limits", "objectives", "service", "upstream"]
