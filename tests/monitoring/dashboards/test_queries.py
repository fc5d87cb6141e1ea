"""Every metric, label and value of a query exists, and every metric is shown."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry

from support.programs import output_of
from support.prometheus import as_asked
from support.promtool import check_values
from tidegate.core.domain.budget import BudgetUnit
from tidegate.core.domain.caller import Priority
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.dimension import DIMENSIONS
from tidegate.monitoring.dashboards.boards import BOARDS
from tidegate.monitoring.dashboards.content.slo import SLO_BOARD
from tidegate.monitoring.dashboards.links import LIMITER, SLO
from tidegate.monitoring.dashboards.queries import (
    histogram,
    increase,
    quantile,
    rate,
    select,
    shared,
    top,
    top_and_rest,
    total,
)
from tidegate.monitoring.rules.recording import RECORDINGS
from tidegate.observe.metrics import catalogue
from tidegate.observe.metrics.catalogue import CATALOGUE, MetricType
from tidegate.observe.metrics.labels import ATTEMPT_STATUSES, REQUEST_OUTCOMES, TOKEN_KINDS

_SELECTOR = re.compile(r"([a-zA-Z_:][\w:]*){([^}]*)}")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_OF_PROMETHEUS: dict[str, set[str]] = {
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity", "cause", "window"},
    "ALERTS_FOR_STATE": {"alertname"},
    "process_start_time_seconds": set(),
}
"""Metrics of Prometheus and of its client library, and their labels beside job and instance."""
_LEFT_OUT = {
    "process_cpu_seconds_total": "a lack of it shows as event loop lag; machines have dashboards of their own",
    "process_resident_memory_bytes": "machines and containers have dashboards of their own",
    "process_virtual_memory_bytes": "Python reserves more than it uses: resident memory is shown",
    "process_open_fds": "connections: calls in flight are shown",
    "process_max_fds": "a constant",
    "python_gc_objects_collected_total": "the collector's pauses show as event loop lag",
    "python_gc_objects_uncollectable_total": "as memory",
    "python_gc_collections_total": "as the objects collected",
    "python_info": "a constant",
}
"""Metrics of the process that no panel shows, and why."""
_OURS_LEFT_OUT = {
    "tidegate_budget_thresholds_total": "what is left and spent is shown, and its alerts name the budget",
    "tidegate_current_rpm": "the charged requests per minute are shown, against their limit",
    "tidegate_event_loop_tasks": "it follows calls in flight; for a search after a leak",
    "tidegate_log_lag_seconds": "a busy leader shows as event loop lag",
    "tidegate_oldest_lease_seconds": "its alert names the pool, and calls in flight are shown",
    "tidegate_queue_tokens": "waiting calls are shown, and how long they wait",
    "tidegate_quota_granted_total": "the recorded share of the paid quota contains it",
    "tidegate_retry_wait_seconds": "retries are shown by reason, and the waits are part of the duration of calls",
    "tidegate_unpriced_tokens_total": "its alert names the model",
}
"""Metrics of the catalogue that no panel shows, and why."""
_RECORDED = {rule.name for group in RECORDINGS for rule in group.rules}
_VALUES: dict[str, set[str]] = {
    "source": {"configured", "upstream", "effective"},
    "dimension": set(DIMENSIONS),
    "outcome": set(REQUEST_OUTCOMES),
    "status": set(ATTEMPT_STATUSES),
    "kind": set(TOKEN_KINDS),
    "cause": set(Cause),
    "class": set(Priority),
    "end": {"admitted", "left"},
    "unit": {unit.value for unit in BudgetUnit},
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """One expression, and where it stands."""

    board: str
    panel: str
    expr: str


def _everything_asked() -> Iterator[_Asked]:
    for board in BOARDS:
        for panel in board.panels:
            yield from (_Asked(board.link.uid, panel.title, query.expr) for query in panel.queries)
        for annotation in board.json()["annotations"]["list"]:
            yield _Asked(board.link.uid, annotation["name"], annotation["expr"])


_ASKED = [*_everything_asked()]


def _allowed_labels(name: str) -> set[str] | None:
    """Labels of a metric beside job and instance; None if there is no such metric."""
    for metric in CATALOGUE:
        if name == metric.name and metric.type is not MetricType.HISTOGRAM:
            return set(metric.labels)
        if metric.type is MetricType.HISTOGRAM and name in (
            f"{metric.name}_bucket",
            f"{metric.name}_count",
            f"{metric.name}_sum",
        ):
            return {*metric.labels, "le"}
    if name in _RECORDED:
        return {"pool", "class"}
    return _OF_PROMETHEUS.get(name)


@pytest.mark.parametrize("board", [board.link.uid for board in BOARDS])
def test_each_metric_and_label_exists(board: str) -> None:
    for asked in _ASKED:
        if asked.board != board:
            continue
        selectors = _SELECTOR.findall(asked.expr)
        assert selectors, asked
        for name, conditions in selectors:
            allowed = _allowed_labels(name)
            assert allowed is not None, (name, asked.panel)
            common = {"job"} if name in _RECORDED else {"job", "instance"}
            labels = {label for label, _, _ in _MATCHER.findall(conditions)}
            assert labels <= allowed | common, (name, asked.panel)


def test_each_value_of_a_closed_set_exists() -> None:
    for asked in _ASKED:
        for label, operator, value in _MATCHER.findall(asked.expr):
            if label in _VALUES and not value.startswith("$"):
                pattern = value if "~" in operator else re.escape(value)
                assert any(re.fullmatch(pattern, known) for known in _VALUES[label]), (label, value, asked.panel)


def test_each_bucket_bound_exists() -> None:
    for metric in CATALOGUE:
        bounds = {str(float(bound)) for bound in metric.buckets}
        for asked in _ASKED:
            for name, conditions in _SELECTOR.findall(asked.expr):
                if name == f"{metric.name}_bucket":
                    found = re.findall(r'le="([^"]*)"', conditions)
                    assert set(found) <= bounds, asked.panel


def test_each_metric_is_shown_or_left_out_for_a_reason() -> None:
    shown = " ".join(asked.expr for asked in _ASKED)
    assert {metric.name for metric in CATALOGUE if metric.name not in shown} == _OURS_LEFT_OUT.keys()


def test_each_metric_of_the_process_is_shown_or_left_out_for_a_reason(registry: CollectorRegistry) -> None:
    shown = " ".join(asked.expr for asked in _ASKED)
    exported = {
        sample.name
        for family in registry.collect()
        if not family.name.startswith("tidegate_")
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    assert {name for name in exported if name not in shown} == _LEFT_OUT.keys()


def test_counters_are_only_seen_as_rates_and_increases() -> None:
    counters = [metric.name for metric in CATALOGUE if metric.type is MetricType.COUNTER]
    buckets = [f"{metric.name}_{end}" for metric in CATALOGUE for end in ("bucket", "count") if metric.buckets]
    raw = re.compile(rf"(?<!rate\()(?<!increase\()\b(?:{'|'.join(counters + buckets)}){{")
    assert [asked for asked in _ASKED if raw.search(asked.expr)] == []


def test_each_filter_passes_every_variable_that_the_metric_has_a_label_for() -> None:
    assert (
        select(catalogue.TOKENS, kind="output")
        == 'tidegate_tokens_total{job=~"$job",instance=~"$instance",pool=~"$pool",model=~"$model",caller=~"$caller",'
        'kind="output"}'
    )
    assert select(catalogue.AVAILABLE, pool="") == 'tidegate_available{job=~"$job",instance=~"$instance"}'


def test_limiter_and_slo_are_about_all_callers() -> None:
    # Admissions and failed calls have no label `caller`, so a filter would leave some numbers whole.
    boards = (LIMITER.uid, SLO.uid)
    assert [asked for asked in _ASKED if asked.board in boards and "$caller" in asked.expr] == []


def test_windows_follow_the_time_range() -> None:
    fixed = {
        asked.panel: found
        for asked in _ASKED
        if (found := re.findall(r"\[(?!\$__rate_interval|\$__range)[^]]*]", asked.expr))
    }
    # What is unusual, many starts, an hour's trend, or why they fire, the alerts say; annotations know no interval.
    assert sorted(fixed) == [
        *("Configuration", "Health", "Predicted share in 30 minutes", "Spend per hour, by caller", "What is wrong"),
    ]


def test_of_many_callers_the_greatest_have_names_and_the_others_are_one(tmp_path: Path) -> None:
    by_caller = rate(catalogue.REQUESTS, by="caller")
    ten = top(10, catalogue.REQUESTS, "caller")
    asked = top_and_rest(by_caller, "{{caller}}", by="caller", of=ten)
    greatest_ones, others = (as_asked(query.expr) for query in asked)
    series = {
        f'{catalogue.REQUESTS.name}{{job="t",instance="a",pool="p",caller="c{number}"}}': f"0+{60 * number}x60"
        for number in range(1, 13)
    }
    expected = {
        f"count({greatest_ones})": 10,
        f"min({greatest_ones})": 3,
        f"sum({greatest_ones})": sum(range(3, 13)),
        others: 1 + 2,
    }
    check_values(tmp_path, series, {f"round({expr}, 0.01)": [("", value)] for expr, value in expected.items()})


@pytest.mark.parametrize(("calls", "median"), [("0x60", None), ("0+60x60", 0.025)])
def test_a_quantile_without_observations_is_absent(tmp_path: Path, calls: str, median: float | None) -> None:
    series = {f'tidegate_queue_wait_seconds_bucket{{job="t",le="{bound}"}}': calls for bound in ("0.05", "+Inf")}
    expected = [] if median is None else [("{}", median)]
    check_values(tmp_path, series, {as_asked(quantile(0.5, catalogue.QUEUE_WAIT)): expected})


@pytest.mark.parametrize(("share", "burn"), [("0x59 NaN", None), ("0x59 0.005", 1.0)])
def test_a_burn_rate_without_calls_is_absent(tmp_path: Path, share: str, burn: float | None) -> None:
    (panel,) = (panel for panel in SLO_BOARD.panels if panel.title == "Burn rate: availability")
    expected = [] if burn is None else [("{}", burn)]
    series = {'tidegate:availability_bad:ratio_rate1h{job="t"}': share}
    check_values(tmp_path, series, {as_asked(panel.queries[0].expr): expected})


def test_a_heatmap_has_no_infinite_bucket(tmp_path: Path) -> None:
    name = f"{catalogue.QUEUE_WAIT.name}_bucket"
    series = {f'{name}{{job="t",le="{bound}"}}': "0+60x60" for bound in ("0.05", "+Inf")}
    buckets = as_asked(histogram(catalogue.QUEUE_WAIT).expr)
    check_values(tmp_path, series, {f"round({buckets})": [('{le="0.05"}', 300)]})


def test_promtool_accepts_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"asked:{number}", "expr": as_asked(asked.expr), "labels": {"panel": asked.panel}}
        for number, asked in enumerate(_ASKED)
    ]
    path = tmp_path / "asked.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "asked", "rules": rules}]}))
    output_of("promtool", "check", "rules", "--lint=none", path)


def test_a_label_that_the_metric_lacks_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"tidegate_available: has no label caller; allowed are .*'pool'"):
        select(catalogue.AVAILABLE, caller="web")
    with pytest.raises(ValueError, match="tidegate_retries_total: has no label caller"):
        rate(catalogue.RETRIES, by="pool, caller")
    with pytest.raises(ValueError, match="tidegate_available: has no label class"):
        shared(catalogue.AVAILABLE, "class")


def test_shared_gauges_are_never_summed_and_counts_of_replicas_always_are() -> None:
    assert total(catalogue.QUEUE_DEPTH, "pool").startswith("sum by (pool)")
    with pytest.raises(ValueError, match="tidegate_queue_depth: differs between replicas"):
        shared(catalogue.QUEUE_DEPTH, "pool")
    with pytest.raises(ValueError, match="tidegate_available: is the same in all replicas"):
        total(catalogue.AVAILABLE, "pool")


def test_a_gauge_has_no_increase() -> None:
    with pytest.raises(ValueError, match="tidegate_available: is a gauge"):
        increase(catalogue.AVAILABLE)
