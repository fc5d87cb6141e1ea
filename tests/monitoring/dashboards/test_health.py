"""The first screen of the Overview shows nothing of the time before all replicas died."""

from pathlib import Path

import pytest

from support.prometheus import as_asked
from support.promtool import check_values
from tidegate.monitoring.dashboards.content.health import HEALTH
from tidegate.monitoring.dashboards.content.overview import OVERVIEW_BOARD

_PROCESS = "Us: process"
_SERIES = {
    'tidegate_requests_total{job="tidegate",instance="a",pool="p",caller="web",outcome="ok"}': "0+60x60",
    'tidegate_upstream_attempts_total{job="tidegate",instance="a",pool="p",model="m",status="529"}': "0+60x60",
    'tidegate_upstream_attempts_total{job="tidegate",instance="a",pool="p",model="m",status="200"}': "0+6x60",
}
_NOW = {panel.title: panel.queries[0] for panel in OVERVIEW_BOARD.rows[0].panels if panel.title.startswith("Calls now")}
_ROWS = {query.legend: query for query in HEALTH.queries}


@pytest.mark.parametrize(("up", "state"), [("1x60", 2), ("1x59 0", None)])
def test_a_share_is_unknown_once_all_replicas_are_down(tmp_path: Path, up: str, state: int | None) -> None:
    series = _SERIES | {'up{job="tidegate",instance="a"}': up, 'up{job="tidegate",instance="b"}': "0x60"}
    row = _ROWS["Claude: overloaded (529)"]
    check_values(tmp_path, series, {as_asked(row.expr): [] if state is None else [("{}", state)]})


def test_a_dead_replica_is_bad(tmp_path: Path) -> None:
    check_values(tmp_path, {'up{job="tidegate",instance="a"}': "0x60"}, {as_asked(_ROWS[_PROCESS].expr): [("{}", 2)]})


@pytest.mark.parametrize(("up", "calls"), [("1x60", 1.0), ("0x60", None)])
def test_a_number_is_unknown_once_all_replicas_are_down(tmp_path: Path, up: str, calls: float | None) -> None:
    (query,) = _NOW.values()
    series = _SERIES | {'up{job="tidegate",instance="a"}': up}
    check_values(tmp_path, series, {as_asked(query.expr): [] if calls is None else [("{}", calls)]})
