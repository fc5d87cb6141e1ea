"""The beginnings and ends of the periods of budgets."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from tidegate.core.domain.budget import BudgetRule, Period

__all__ = ["Span", "period_of"]

Span = tuple[int, int | None]
"""The beginning and the end of a period, in seconds since 1970-01-01 UTC. A total has neither: 0 and None."""

_HOUR_SECONDS: Final = 3_600
_LONGER_THAN_A_MONTH: Final = timedelta(days=32)


def period_of(rule: BudgetRule, unix_seconds: float) -> Span:
    """The period of a budget at this time. Days and months are those of its time zone, with summer time."""
    if rule.period is Period.TOTAL:
        return 0, None
    zone = UTC if rule.time_zone == "UTC" else ZoneInfo(rule.time_zone)  # which a system may have no data for
    now = datetime.fromtimestamp(int(unix_seconds), zone)
    if rule.period is Period.HOUR:
        starts = int(unix_seconds) - now.minute * 60 - now.second
        return starts, starts + _HOUR_SECONDS
    first = datetime(now.year, now.month, now.day if rule.period is Period.DAY else 1, tzinfo=zone)
    step = timedelta(days=1) if rule.period is Period.DAY else _LONGER_THAN_A_MONTH
    later = first + step  # by the calendar of the zone, not by elapsed time
    after = later if rule.period is Period.DAY else later.replace(day=1)
    return int(first.timestamp()), int(after.timestamp())
