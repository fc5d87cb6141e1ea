"""When periods of budgets begin and end, in their time zone and over changes of summer time."""

from datetime import UTC, datetime

import pytest

from tidegate.cli.budgets.calendar import period_of
from tidegate.core.domain.budget import BudgetRule, BudgetUnit, Period


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.mark.parametrize(
    ("period", "zone", "now", "starts", "ends"),
    [
        (Period.HOUR, "UTC", "2026-12-02 01:59:59", "2026-12-02 01:00", "2026-12-02 02:00"),
        (Period.HOUR, "UTC", "2026-12-02 02:00", "2026-12-02 02:00", "2026-12-02 03:00"),
        (Period.HOUR, "Asia/Kolkata", "2026-12-02 01:45", "2026-12-02 01:30", "2026-12-02 02:30"),
        (Period.DAY, "UTC", "2026-12-02 23:59:59", "2026-12-02 00:00", "2026-12-03 00:00"),
        (Period.DAY, "Europe/Berlin", "2026-12-02 23:30", "2026-12-02 23:00", "2026-12-03 23:00"),
        (Period.DAY, "Europe/Berlin", "2027-03-28 12:00", "2027-03-27 23:00", "2027-03-28 22:00"),  # 23 hours
        (Period.DAY, "Europe/Berlin", "2026-10-25 12:00", "2026-10-24 22:00", "2026-10-25 23:00"),  # 25 hours
        (Period.DAY, "America/New_York", "2026-12-02 04:00", "2026-12-01 05:00", "2026-12-02 05:00"),
        (Period.MONTH, "UTC", "2026-12-31 23:59", "2026-12-01 00:00", "2027-01-01 00:00"),
        (Period.MONTH, "UTC", "2028-02-29 12:00", "2028-02-01 00:00", "2028-03-01 00:00"),
        (Period.MONTH, "Europe/Berlin", "2027-03-31 22:30", "2027-03-31 22:00", "2027-04-30 22:00"),
        (Period.MONTH, "Pacific/Auckland", "2026-12-31 10:59", "2026-11-30 11:00", "2026-12-31 11:00"),
    ],
)
def test_a_period_is_that_of_its_time_zone(period: Period, zone: str, now: str, starts: str, ends: str) -> None:
    rule = BudgetRule("b", BudgetUnit.USD, 1, period, zone)
    assert period_of(rule, at(now) + 0.5) == (at(starts), at(ends))


def test_a_total_has_neither_beginning_nor_end() -> None:
    assert period_of(BudgetRule("b", BudgetUnit.USD, 1), at("2026-12-02 00:00")) == (0, None)
