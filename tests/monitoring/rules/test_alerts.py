"""Every alert fires on its fault, with the labels, words and links it should have; not just below; and it recovers."""

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.project import ROOT
from support.promtool import as_series, run_tests
from tidegate.monitoring.rules.files import alert_groups
from tidegate.monitoring.rules.rule import Alert, Installation

RULES = ROOT / "deploy/prometheus/rules"
CASES: list[dict[str, Any]] = [
    case
    for path in sorted(Path(__file__).with_name("cases").glob("*.yml"))
    for case in yaml.safe_load(path.read_text())
]
ALERTS = [rule for group in alert_groups(Installation()) for rule in group.rules if isinstance(rule, Alert)]


def links_of(alert: str, labels: dict[str, str], most: str = "") -> dict[str, str]:
    """Summary and links of the rule that has this name, severity and window, for an alert with these labels.

    `most` is the filter that the link has beside those of the labels.
    """
    (rule,) = (
        rule
        for rule in ALERTS
        if (rule.name, rule.severity) == (alert, labels["severity"])
        and rule.labels.get("window") == (labels.get("window"))
    )
    annotations = rule.rule(Installation())["annotations"]
    del annotations["description"]
    return {
        name: re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels[found[1]], text.partition("{{ with")[0])
        + (most if "{{ with" in text else "")
        for name, text in annotations.items()
    }


def promtool_test(
    case: dict[str, Any], series: dict[str, str], at: str, expect: list[dict[str, Any]], silent_at: str = ""
) -> dict[str, Any]:
    """One test as promtool reads it: what is firing under the alert's name at one moment, and nothing at another."""
    assert all(isinstance(values, str) for values in series.values()), "a bare 0x60 is a number to YAML: quote it"
    alerts = [
        {
            "exp_labels": expected["labels"],
            "exp_annotations": {
                "description": expected["says"],
                **links_of(case["alert"], expected["labels"], expected.get("most", "")),
            },
        }
        for expected in expect
    ]
    return {
        "interval": case.get("every", "1m"),
        "input_series": as_series(series),
        "alert_rule_test": [
            {"eval_time": at, "alertname": case["alert"], "exp_alerts": alerts},
            *([{"eval_time": silent_at, "alertname": case["alert"], "exp_alerts": []}] if silent_at else []),
        ],
    }


@cache
def built_rules() -> list[dict[str, Any]]:
    return [
        rule
        for name in ("tidegate-recording.yml", "tidegate-alerts.yml")
        for group in yaml.safe_load((RULES / name).read_text())["groups"]
        for rule in group["rules"]
    ]


def rules_for(alert: str) -> dict[str, Any]:
    """The alert's rules out of the built files, with the recordings that they use: promtool evaluates all it gets."""
    chosen = [rule for rule in built_rules() if rule.get("alert") == alert]
    used = "\n".join(rule["expr"] for rule in chosen)
    recorded = [rule for rule in built_rules() if "record" in rule and re.search(rf"{rule['record']}\b", used)]
    return {"groups": [{"name": alert, "rules": [*recorded, *chosen]}]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["alert"])
def test_alert(case: dict[str, Any], tmp_path: Path) -> None:
    fault, at = case["fault"], case["at"]
    tests = [promtool_test(case, fault, at, case["expect"], case.get("recovered", ""))]
    tests += [promtool_test(case, fault | other, at, []) for other in case.get("below", ())]
    rules = tmp_path / "rules.yml"
    rules.write_text(yaml.safe_dump(rules_for(case["alert"])))
    run_tests(tmp_path, tests, [rules], interval=case.get("evaluated", case.get("every", "1m")))


def test_every_alert_is_seen_firing_in_each_severity_and_not_firing() -> None:
    fires = {
        (case["alert"], expected["labels"]["severity"], expected["labels"].get("window", ""))
        for case in CASES
        for expected in case["expect"]
    }
    assert fires == {(rule.name, rule.severity, rule.labels.get("window", "")) for rule in ALERTS}
    spared = {case["alert"] for case in CASES if case.get("below") and case.get("recovered")}
    assert spared == {rule.name for rule in ALERTS} - {"Watchdog"}
