"""Faults in the real service fire in a real Alertmanager, and are over there when they are over: by the short rules."""

from pathlib import Path

import pytest

from support.alerting.fault import Fault
from support.alerting.faults import FAULTS
from support.alerting.stack import stack
from tidegate.monitoring.rules.files import alert_groups
from tidegate.monitoring.rules.rule import Alert, Places

GROUPS = alert_groups(Places())
ALWAYS = "Watchdog none"
"""Every stack waits for it before anything else, and it never resolves."""


def name_of(rule: Alert) -> str:
    return " ".join(filter(None, (rule.name, rule.severity, rule.labels.get("window"))))


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, id=fault.name, marks=() if fault.quick else pytest.mark.alerts) for fault in FAULTS],
)
@pytest.mark.timeout(400)
def test_a_fault_fires_and_resolves(fault: Fault, tmp_path: Path) -> None:
    with stack(tmp_path, **fault.world) as running:
        fault.provoke(running)
    assert running.proved == fault.proves


def test_every_alert_is_proved() -> None:
    proved = {ALWAYS}.union(*(fault.proves for fault in FAULTS))
    assert proved == {name_of(rule) for group in GROUPS for rule in group.rules if isinstance(rule, Alert)}


def test_the_quick_faults_cover_every_group() -> None:
    quick = set[str]().union(*(fault.proves for fault in FAULTS if fault.quick))
    for group in GROUPS:
        assert quick & {name_of(rule) for rule in group.rules if isinstance(rule, Alert)}, group.name
    assert sum(fault.quick for fault in FAULTS) == 6
