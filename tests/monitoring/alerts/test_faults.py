"""Faults in the real service fire in a real Alertmanager, and are over there when they are over: by the short rules."""

from pathlib import Path
from typing import Any

import pytest

from support.alerting.fault import ANYWHERE, Fault
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
        fired = running.fired
    assert running.proved == fault.proves
    assert running.paged <= pages_of(fault) | burns_of(fault)
    assert fired <= {name.split()[0] for name in fault.proves} | fault.allows.keys() | ANYWHERE.keys()
    assert {name: late for name, late in running.delays.items() if late > fault.within_seconds} == {}


def burns_of(fault: Fault) -> set[str]:
    """Names of the burn-rate alerts that a fault proves: on a busy machine it may burn the budget faster than stated.

    The slower calls are that do not fail, the larger the share of those that do.
    """
    return {name for name, *_ in map(str.split, fault.proves) if name.endswith("Burn")}


def pages_of(fault: Fault) -> set[str]:
    """Names of the alerts that may page because of a fault: those that it states as critical."""
    return {name for name, severity, *_ in map(str.split, fault.proves) if severity == "critical"}


def test_a_fault_is_one_page_at_most() -> None:
    assert [fault.name for fault in FAULTS if len(pages_of(fault)) > 1] == []


MACHINE = ("TidegateEventLoopLag", "TidegateOverheadHigh")
"""The short rules take the delays of a busy machine for faults."""


@pytest.mark.alerts
@pytest.mark.timeout(400)
def test_healthy_load_a_start_a_reload_and_a_drain_are_no_faults(tmp_path: Path) -> None:
    """Half a minute under the short rules, which divide windows by 60: a half hour."""
    mixed: tuple[dict[str, Any], ...] = (
        {},
        {"stream": False},
        {"model": "claude-haiku-5-5"},
        {"max_tokens": 200, "prompt": "A story, please"},
    )
    with stack(tmp_path) as running, running.load(*mixed, workers=2, pause_seconds=0.6):
        running.stays_silent(seconds=10, but=MACHINE)
        running.serve("b")
        running.scrape(*running.addresses)
        running.stays_silent(seconds=6, but=MACHINE)
        running.reload("a")
        running.stays_silent(seconds=6, but=MACHINE)
        running.scrape(running.addresses[0])
        running.wait_for(lambda: len(running.query("up")) == 1, "one target")
        running.drain("b")
        running.stays_silent(seconds=8, but=MACHINE)
    assert running.paged == set()


def test_what_a_fault_allows_are_other_alerts() -> None:
    names = {rule.name for group in GROUPS for rule in group.rules if isinstance(rule, Alert)}
    for fault in FAULTS:
        assert fault.allows.keys() <= names, fault.name
    assert ANYWHERE.keys() <= names


def test_every_alert_is_proved() -> None:
    proved = {ALWAYS}.union(*(fault.proves for fault in FAULTS))
    assert proved == {name_of(rule) for group in GROUPS for rule in group.rules if isinstance(rule, Alert)}
