"""Faults in the real service fire in a real Alertmanager, and are over there when they are over: by the short rules."""

from pathlib import Path

import pytest

from support.alerting.fault import Fault
from support.alerting.faults import FAULTS
from support.alerting.stack import stack
from tidegate.monitoring.rules.files import alert_groups
from tidegate.monitoring.rules.rule import Alert, Installation

GROUPS = alert_groups(Installation())
ALWAYS = "Watchdog none"
"""Every stack waits for it before anything else, and it never resolves."""


def name_of(rule: Alert) -> str:
    return " ".join(filter(None, (rule.name, rule.severity, rule.labels.get("window"))))


@pytest.mark.alerts
@pytest.mark.timeout(400)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_fires_and_resolves(fault: Fault, tmp_path: Path) -> None:
    with stack(tmp_path, **fault.setup) as running:
        fault.provoke(running)
    assert running.proved == fault.proves


def test_every_alert_is_proved() -> None:
    proved = {ALWAYS}.union(*(fault.proves for fault in FAULTS))
    assert proved == {name_of(rule) for group in GROUPS for rule in group.rules if isinstance(rule, Alert)}
