"""The dashboard "Callers" explains each call that was not answered, and shows who waits now."""

from pathlib import Path

import pytest

from support.prometheus import as_asked
from support.promtool import check_values
from tidegate.monitoring.dashboards.content.callers import CALLERS_BOARD
from tidegate.observe.metrics.labels import REQUEST_OUTCOMES

_TABLE = next(panel for panel in CALLERS_BOARD.panels if panel.title == "Callers in the time range")
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


def test_each_outcome_has_a_column() -> None:
    asked = " ".join(query.expr for query in _TABLE.queries)
    assert [outcome for outcome in REQUEST_OUTCOMES if f'outcome="{outcome}"' not in asked] == []
