"""No alert fires without a fault: no series at all, a service that nobody calls, a restart, and few calls at night."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from support.project import ROOT
from support.promtool import as_series, run_tests
from tidegate.monitoring.rules.files import alert_groups
from tidegate.monitoring.rules.rule import Alert, Installation

pytestmark = pytest.mark.alerts

RULES = ROOT / "deploy/prometheus/rules"
NAMES = sorted({rule.name for group in alert_groups(Installation()) for rule in group.rules if isinstance(rule, Alert)})
WATCHDOG = {
    "exp_labels": {"severity": "none", "job": "tidegate"},
    "exp_annotations": {
        "summary": "Alerting works.",
        "description": "Always fires, to prove that alerts reach the receiver.",
        "runbook_url": "service/tidegate/monitoring/runbooks/Watchdog.md",
        "dashboard_url": "http://localhost:3000/d/tidegate-overview?var-job=tidegate",
    },
}
UP = {'up{job="tidegate",instance="a"}': "1x400"}
FAULTY = {
    "tidegate_budget_spent": 0,
    "tidegate_pool_frozen": 0,
    "tidegate_queue_depth": 0,
    "tidegate_queue_tokens": 0,
    "tidegate_unpriced_tokens_total": 0,
}
"""Gauges, and the one counter whose value is looked at, of the scrape that has one of everything: what is no fault."""


def samples(registry: CollectorRegistry) -> Iterator[tuple[str, str, dict[str, str], float]]:
    """Type, name, labels and value of everything that a service exports."""
    for family in registry.collect():
        for sample in family.samples:
            # A configured limit below the upstream's is shown on purpose.
            if not sample.name.endswith("_created") and sample.labels.get("source") != "configured":
                yield family.type, sample.name, sample.labels, FAULTY.get(sample.name, sample.value)


def series(name: str, labels: dict[str, str]) -> str:
    here = labels | {"job": "tidegate", "instance": "a"} | ({"upstream": "claude"} if "upstream" in labels else {})
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in here.items()) + "}"


def assert_silent(tmp_path: Path, series_values: dict[str, str], *, but: tuple[str, ...] = ()) -> None:
    """No alert fires at any time for these series, the Watchdog and `but` aside."""
    test = {
        "interval": "1m",
        "input_series": as_series(series_values),
        "alert_rule_test": [
            {"eval_time": at, "alertname": name, "exp_alerts": [WATCHDOG] if name == "Watchdog" else []}
            for name in NAMES
            if name not in but
            for at in ("5m", "61m", "62m", "65m", "75m", "110m", "125m")
        ],
    }
    run_tests(tmp_path, [test], [RULES / name for name in ("tidegate-recording.yml", "tidegate-alerts.yml")])


def test_without_series_only_the_alert_of_their_absence_fires(tmp_path: Path) -> None:
    assert_silent(tmp_path, {}, but=("TidegateMetricsAbsent",))


def test_without_calls_no_alert_fires(tmp_path: Path, registry: CollectorRegistry) -> None:
    series_values = {series(name, labels): f"{value}x240" for _, name, labels, value in samples(registry)}
    assert_silent(tmp_path, series_values | UP)


def test_a_restart_fires_no_alert(tmp_path: Path, registry: CollectorRegistry) -> None:
    """Counters that stood at some value begin at 0 again."""
    series_values = {
        series(name, labels): f"{value}x240" if kind == "gauge" else f"{100 * value}x60 0x180"
        for kind, name, labels, value in samples(registry)
    }
    assert_silent(tmp_path, series_values | UP)


def test_single_calls_at_night_fire_no_alert(tmp_path: Path, registry: CollectorRegistry) -> None:
    """Everything happens once, a spend cap aside: every share is large, and none means anything."""
    series_values = {
        series(name, labels): f"{value}x240"
        if kind == "gauge"
        else f"0x60 {0 if 'spend_capped' in name else min(value, 1)}x180"
        for kind, name, labels, value in samples(registry)
    }
    assert_silent(tmp_path, series_values | UP)
