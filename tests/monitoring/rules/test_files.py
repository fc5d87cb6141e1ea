"""The committed rules are those that the Python builds, are valid, and speak of metrics that exist."""

import re
from collections.abc import Collection, Iterator
from typing import Any

import pytest
import yaml

from support.programs import output_of
from support.project import ROOT
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.caller import Priority
from tidegate.core.domain.cause import Cause
from tidegate.monitoring.dashboards.boards import BOARDS
from tidegate.monitoring.replica_sums import ADDED_UP
from tidegate.monitoring.rules.files import rule_files, shortened
from tidegate.monitoring.rules.recording import RECORDINGS
from tidegate.monitoring.rules.rule import Installation, duration
from tidegate.observe.metrics.catalogue import CATALOGUE, MetricType
from tidegate.observe.metrics.labels import ATTEMPT_STATUSES, REQUEST_OUTCOMES, ROUTES, TOKEN_KINDS

FOLDER = ROOT / "deploy/prometheus"
NAMES = sorted(rule_files(Installation()))
LABELS = {
    name: {*metric.labels, "job", "instance", "le"}
    for metric in CATALOGUE
    for name in (
        [metric.name]
        if metric.type is not MetricType.HISTOGRAM
        else [f"{metric.name}_{suffix}" for suffix in ("bucket", "count", "sum")]
    )
}


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / "rules" / name).read_text())
    return document


def rules(name: str) -> Iterator[dict[str, Any]]:
    return (rule for group in load(name)["groups"] for rule in group["rules"])


def test_the_committed_files_are_those_that_are_built() -> None:
    committed = {path.name: path.read_text() for path in (FOLDER / "rules").iterdir()}
    assert committed == rule_files(Installation()), "run `python -m deploy.prometheus` and read the diff"


@pytest.mark.parametrize("name", NAMES)
def test_promtool_finds_nothing_to_mend(name: str) -> None:
    output_of("promtool", "check", "rules", "--lint=all", "--lint-fatal", FOLDER / "rules" / name)


def test_the_configuration_of_prometheus_is_valid_and_loads_the_shipped_rules() -> None:
    output_of("promtool", "check", "config", FOLDER / "prometheus.yml")
    loaded = yaml.safe_load((FOLDER / "prometheus.yml").read_text())["rule_files"]
    assert sorted(loaded) == [f"rules/{name}" for name in NAMES if "e2e" not in name]


@pytest.mark.parametrize("name", ["tidegate-alerts", "tidegate-recording"])
def test_the_short_rules_differ_in_ranges_and_periods_only(name: str) -> None:
    def without_times(document: dict[str, Any]) -> str:
        for group in document["groups"]:
            for rule in group["rules"]:
                rule.pop("for", None)
                rule.pop("keep_firing_for", None)
                rule["expr"] = re.sub(r"\[\d+[smhd]\]|offset \d+[smhd]", "[…]", rule["expr"])
        return yaml.safe_dump(document)

    short = load(f"{name}.e2e.yml")
    assert short == shortened(load(f"{name}.yml"))
    assert without_times(short) == without_times(load(f"{name}.yml"))
    expressions = "\n".join(rule["expr"] for rule in rules(f"{name}.e2e.yml"))
    found = re.findall(r"\[(\d+)([smhd])\]", expressions)
    assert {unit for _, unit in found} == {"s"}
    assert max(int(number) for number, _ in found) <= 30


def test_every_metric_and_label_is_in_the_catalogue_or_recorded() -> None:
    recorded = {rule["record"] for rule in rules("tidegate-recording.yml")}
    for name in ("tidegate-recording.yml", "tidegate-alerts.yml"):
        for rule in rules(name):
            for metric, matchers in re.findall(r"\b(tidegate[_:][\w:]+)(?:\{([^}]*)\})?", rule["expr"]):
                assert metric in recorded or metric in LABELS, (metric, rule)
                if metric in LABELS:
                    assert set(re.findall(r"(\w+)[=!]", matchers)) <= LABELS[metric], rule


def test_every_value_of_a_closed_set_exists() -> None:
    sets: dict[str, Collection[str]] = {
        "status": ATTEMPT_STATUSES,
        "outcome": REQUEST_OUTCOMES,
        "route": ROUTES,
        "cause": set(Cause),
        "class": set(Priority),
        "source": ("configured", "upstream", "effective"),
        "upstream": ("claude", "simulator"),
        "kind": {*AnomalyKind, *TOKEN_KINDS},
        "model": ("none", "other", "m"),
    }
    asked = [
        (label, sign, value)
        for name in ("tidegate-recording.yml", "tidegate-alerts.yml")
        for rule in rules(name)
        for label, sign, value in re.findall(r'\b(\w+)(=~|!=|!~|=)"([^"]*)"', rule["expr"])
        if label not in {"job", "le"}
    ]
    assert {label for label, _, _ in asked} == sets.keys()
    for label, sign, value in asked:
        pattern = value if "~" in sign else re.escape(value)
        assert any(re.fullmatch(pattern, known) for known in sets[label]), (label, value)


def test_every_bound_is_one_of_the_histogram_s_buckets() -> None:
    bounds = {
        f"{metric.name}_bucket": {"+Inf", *(str(float(bound)) for bound in metric.buckets)} for metric in CATALOGUE
    }
    asked = [
        (metric, bound)
        for name in ("tidegate-recording.yml", "tidegate-alerts.yml")
        for rule in rules(name)
        for metric, bound in re.findall(r'(tidegate_\w+_bucket)\{[^}]*le="([^"]+)"', rule["expr"])
    ]
    assert len({bound for _, bound in asked}) > 3
    assert [each for each in asked if each[1] not in bounds[each[0]]] == []


def test_shared_metrics_are_never_summed_unless_each_replica_has_a_part() -> None:
    shared = [metric.name for metric in CATALOGUE if "(shared)" in metric.help and metric not in ADDED_UP]
    expressions = "\n".join(rule["expr"] for name in NAMES for rule in rules(name))
    assert len(shared) > 3
    for name in shared:
        assert not re.search(rf"sum by \([^)]*\) \((?:\w+\()?{name}", expressions), name


def test_every_alert_says_what_is_wrong_and_where_to_look() -> None:
    uids = {board.link.uid for board in BOARDS}
    for rule in rules("tidegate-alerts.yml"):
        annotations = rule["annotations"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info", "none"}
        assert re.fullmatch(r"\d+[smhd]", rule["for"])
        assert "{{" not in annotations["summary"]
        assert annotations["summary"].endswith(".")
        assert {"description", "runbook_url", "dashboard_url"} <= annotations.keys()
        found = re.search(r"/d/([\w-]+)\?var-job=", annotations["dashboard_url"])
        assert found
        assert found[1] in uids


def test_every_recording_is_used_or_is_for_the_dashboards() -> None:
    names = [rule.name for group in RECORDINGS for rule in group.rules]
    assert len(set(names)) == len(names)
    assert all(name.startswith("tidegate:") for name in names)


@pytest.mark.parametrize(("seconds", "text"), [(1, "1s"), (90, "90s"), (120, "2m"), (5_400, "90m"), (86_400, "1d")])
def test_durations_are_in_the_largest_whole_unit(seconds: int, text: str) -> None:
    assert duration(seconds) == text
