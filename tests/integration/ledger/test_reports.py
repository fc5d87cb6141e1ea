"""Reports on usage, its retention, and backups."""

from pathlib import Path

import pytest
from sqlalchemy import select

from support.ledgers import ALWAYS, HAIKU, NIGHTLY, answered, ended, everything, hear
from support.virtual_time import VirtualClock
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import LedgerUnavailable
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.usage_sink import UsageQuery
from tidegate.core.pricing.price_list import PriceList
from tidegate.ledger.database import Database
from tidegate.ledger.retention import DAY_SECONDS, KEEP_HOURS_DAYS, merge_old_hours
from tidegate.ledger.tables import HOUR_SECONDS, usage
from tidegate.ledger.usage_recorder import UsageRecorder
from tidegate.ledger.usage_report import report
from tidegate.ledger.usage_writer import UsageWriter

HOUR = 1_794_999_600
DAY = HOUR // DAY_SECONDS * DAY_SECONDS


@pytest.fixture
def filled(database: Database) -> Database:
    """Two callers use Tidegate in each of 30 hours, which begin at 11:00 UTC."""
    clock = VirtualClock(wall_start_s=HOUR + 60)
    recorder = UsageRecorder(clock, PriceList.bundled())
    writer = UsageWriter(database, recorder, clock)
    for _ in range(30):
        hear(recorder, ended(), answered(Usage(1_000)), ended(NIGHTLY, Cause.BUDGET), answered(Usage(5_000), NIGHTLY))
        assert writer.write()
        clock.advance(HOUR_SECONDS)
    return database


def test_the_most_expensive_group_comes_first(filled: Database) -> None:
    assert [(group.group, group.input_tokens) for group in everything(filled, "caller").groups] == [
        ({"caller": "nightly"}, 150_000),
        ({"caller": "web"}, 30_000),
    ]


def test_groups_by_time_are_in_their_order_and_days_are_those_of_utc(filled: Database) -> None:
    days = everything(filled, "day").groups
    assert [(group.group["day"], group.calls) for group in days] == [(DAY, 2 * 13), (DAY + DAY_SECONDS, 2 * 17)]
    hours = everything(filled, "hour", "team").groups
    assert [tuple(group.group.values()) for group in hours[:3]] == [
        *((HOUR, "data"), (HOUR, "shop"), (HOUR + HOUR_SECONDS, "data")),
    ]


def test_only_hours_that_overlap_with_the_time_are_counted(filled: Database) -> None:
    query = UsageQuery(HOUR + 2 * HOUR_SECONDS + 1, HOUR + 4 * HOUR_SECONDS, ("class", "model", "pool"))
    (group,) = report(filled, query).groups
    assert group.group == {"class": "standard", "model": HAIKU, "pool": "haiku-5-5"}
    assert (group.calls, group.refusals) == (4, {"budget": 2})


def test_one_caller_is_counted_alone(filled: Database) -> None:
    found = report(filled, UsageQuery(0, ALWAYS, ("team",), caller="web"))
    assert [group.group for group in found.groups] == [{"team": "shop"}]
    assert (found.total.calls, found.total.refusals) == (30, {})


def test_old_hours_become_days_with_the_same_sums(filled: Database) -> None:
    before = everything(filled, "day", "caller")
    now = DAY + (KEEP_HOURS_DAYS + 1) * DAY_SECONDS
    assert merge_old_hours(filled, now)
    assert not merge_old_hours(filled, now)
    assert everything(filled, "day", "caller") == before
    with filled.read() as connection:
        rows = connection.execute(select(usage.c.starts, usage.c.seconds).order_by(usage.c.starts)).all()
    assert rows[:2] == [(DAY, DAY_SECONDS)] * 2
    assert {seconds for _, seconds in rows[2:]} == {HOUR_SECONDS}
    assert len(rows) == 2 + 2 * 17


def test_an_hour_that_comes_late_is_added_to_its_day(filled: Database) -> None:
    now = DAY + (KEEP_HOURS_DAYS + 1) * DAY_SECONDS
    assert merge_old_hours(filled, now)
    clock = VirtualClock(wall_start_s=HOUR)
    recorder = UsageRecorder(clock, PriceList.bundled())
    hear(recorder, ended())
    assert UsageWriter(filled, recorder, clock).write()
    before = everything(filled, "day").groups
    assert merge_old_hours(filled, now)
    assert everything(filled, "day").groups == before


def test_a_writer_merges_old_hours_once_a_day(filled: Database) -> None:
    clock = VirtualClock(wall_start_s=DAY + (KEEP_HOURS_DAYS + 3) * DAY_SECONDS)
    assert UsageWriter(filled, UsageRecorder(clock, PriceList.bundled()), clock).write()
    with filled.read() as connection:
        assert set(connection.scalars(select(usage.c.seconds))) == {DAY_SECONDS}


def test_a_backup_of_sqlite_holds_everything_while_the_database_is_in_use(tmp_path: Path) -> None:
    database, clock = Database.in_folder(tmp_path), VirtualClock()
    recorder = UsageRecorder(clock, PriceList.bundled())
    hear(recorder, ended(), answered(Usage(7)))
    assert UsageWriter(database, recorder, clock).write()
    with database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM refusals")  # a transaction is open
        database.backup(tmp_path / "copy.sqlite")
    copy = Database(f"sqlite:///{tmp_path}/copy.sqlite")
    assert everything(copy).total == everything(database).total
    with pytest.raises(LedgerUnavailable):
        database.backup(tmp_path / "no" / "folder")
    copy.close()
    database.close()
