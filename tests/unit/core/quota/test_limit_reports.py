"""Reports whose doubts are carried to another process."""

from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.events import Anomaly, Event
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.quota.limit_reports import LimitReports
from tidegate.core.quota.pool_limits import PoolLimits


def test_a_doubted_limit_is_still_doubted_after_a_restart() -> None:
    original = LimitReports("p", [], PoolLimits())
    for per_minute in (60, 600):
        original.observe(LimitReport(DimensionReport(per_minute)), 0)
    events = list[Event]()
    restored = LimitReports.restore(original.dump(), "p", events, PoolLimits())
    assert not restored.observe(LimitReport(DimensionReport(700)), 0)
    assert events == [Anomaly("p", AnomalyKind.LIMITS)]
