"""The dashboard "Callers" shows who waits now, and nobody who waited before."""

from pathlib import Path

import pytest

from support.prometheus import as_asked
from support.promtool import check_values
from tidegate.monitoring.dashboards.content.callers import CALLERS_BOARD

_WAITING = next(panel for panel in CALLERS_BOARD.panels if panel.title == "Waiting, by caller and limit").queries[0]


@pytest.mark.parametrize(
    ("waiting", "depth", "value"),
    [("5x60", "5x60", 5), ("5x30 stale", "0x60", 0), ("5x30 stale", "0x30 stale", None)],
    ids=["waits", "waited", "down"],
)
def test_a_caller_that_no_longer_waits_is_zero(tmp_path: Path, waiting: str, depth: str, value: float | None) -> None:
    series = {
        'tidegate_caller_waiting{job="t",instance="a",pool="p",caller="web",limit="requests"}': waiting,
        'tidegate_caller_wait_seconds_sum{job="t",instance="a",caller="web",end="admitted"}': "0+9x60",
        'tidegate_queue_depth{job="t",instance="a",pool="p",class="standard"}': depth,
    }
    labels = '{caller="web",limit="requests"}'
    check_values(tmp_path, series, {as_asked(_WAITING.expr): [] if value is None else [(labels, value)]})
