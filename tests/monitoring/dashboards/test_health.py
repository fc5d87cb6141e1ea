"""The first screen of the Overview tells silence from an outage, and agrees with the alerts."""

from pathlib import Path

import pytest

from support.prometheus import as_asked
from support.promtool import Samples, check_values
from tidegate.monitoring.dashboards.content.health import HEALTH, IDLE
from tidegate.monitoring.dashboards.content.overview import OVERVIEW_BOARD
from tidegate.monitoring.rules.files import rule_files
from tidegate.monitoring.rules.rule import Installation

_SERIES = {
    'tidegate_requests_total{job="tidegate",instance="a",pool="p",caller="web",outcome="ok"}': "0+60x60",
    'tidegate_upstream_attempts_total{job="tidegate",instance="a",pool="p",model="m",status="529"}': "0+60x60",
}
_REPLICA = 'tidegate_build_info{job="tidegate",instance="a"}'
_ROWS = {query.legend: as_asked(query.expr) for query in HEALTH.queries}
_NOW = {panel.title: as_asked(panel.queries[0].expr) for panel in OVERVIEW_BOARD.rows[0].panels if panel.kind == "stat"}
_OVERLOADED = _ROWS["Claude: overloaded (529)"]
_CALLS, _ERRORS, _REFUSED = (_NOW[title] for title in ("Calls now", "5xx, not 529", "Refused now"))
_WAIT = _NOW["Wait now, p95"]


def _only(value: float | None) -> Samples:
    return [] if value is None else [("{}", value)]


@pytest.mark.parametrize(
    ("replica", "calls", "expected"),
    [
        ("1x60", "0+60x60", {_OVERLOADED: 2, _CALLS: 1, _ERRORS: 0}),
        ("1x60", "0x60", {_OVERLOADED: IDLE, _CALLS: 0, _ERRORS: IDLE, _REFUSED: IDLE, _WAIT: IDLE}),
        ("1x59 stale", "0+60x60", {_OVERLOADED: None, _CALLS: None, _ERRORS: None, _REFUSED: None, _WAIT: None}),
    ],
    ids=["calls", "silence", "no replica"],
)
def test_silence_differs_from_an_outage(
    tmp_path: Path, replica: str, calls: str, expected: dict[str, float | None]
) -> None:
    series = dict.fromkeys(_SERIES, calls) | {_REPLICA: replica}
    check_values(tmp_path, series, {expr: _only(value) for expr, value in expected.items()})


def test_a_dead_replica_is_bad(tmp_path: Path) -> None:
    check_values(tmp_path, {'up{job="tidegate",instance="a"}': "0x60"}, {_ROWS["Us: process"]: _only(2)})


@pytest.mark.parametrize(("degraded", "expected"), [("1x60", 1), ("0x60", 2)], ids=["store lost", "leader silent"])
def test_replicas_without_a_store_are_degraded_and_do_not_miss_their_leader(
    tmp_path: Path, degraded: str, expected: float
) -> None:
    labels = '{job="tidegate",instance="a"}'
    series = {
        _REPLICA: "1x60",
        f"tidegate_degraded{labels}": degraded,
        f"tidegate_snapshot_age_seconds{labels}": "0+60x60",
    }
    check_values(tmp_path, series, {_ROWS["Us: store and ledger"]: _only(expected)})


def test_refusals_count_by_cause_as_in_their_alert(tmp_path: Path) -> None:
    refused = 'tidegate_refused_total{{job="tidegate",instance="a",pool="p",caller="web",cause="{}"}}'
    series = _SERIES | {_REPLICA: "1x60", refused.format("deadline"): "0+3x60", refused.format("queue_full"): "0+2x60"}
    check_values(tmp_path, series, {f"round({_REFUSED}, 0.001)": _only(0.05)})


def test_waits_of_a_caller_that_floods_a_pool_do_not_count(tmp_path: Path) -> None:
    def buckets(name: str, within_10_s: int, within_60_s: int) -> dict[str, str]:
        counts = {"1.0": within_10_s, "10.0": within_10_s, "60.0": within_60_s, "+Inf": within_60_s}
        labels = 'job="tidegate",instance="a",pool="p",class="standard"'
        return {f'tidegate_{name}_seconds_bucket{{{labels},le="{le}"}}': f"0+{n}x60" for le, n in counts.items()}

    rules = tmp_path / "rules.yml"
    rules.write_text(rule_files(Installation())["tidegate-recording.yml"])
    series = _SERIES | {_REPLICA: "1x60"} | buckets("queue_wait", 60, 120) | buckets("excess_wait", 0, 60)
    check_values(tmp_path, series, {f"round({_WAIT}, 0.01)": _only(0.95)}, [rules])
