"""Reports on usage, its retention, and backups."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import booleans, integers
from msgspec import structs
from sqlalchemy import func, select

from support.ledgers import ALWAYS, HAIKU, NIGHTLY, answered, ended, everything, hear
from support.postgresql_server import PostgresqlServer
from support.virtual_time import VirtualClock
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import LedgerUnavailable
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.usage_sink import UsageQuery
from tidegate.core.pricing.price_list import PriceList
from tidegate.ledger.database import Database
from tidegate.ledger.tables import DAY_SECONDS, HOUR_SECONDS, refusals, usage
from tidegate.ledger.usage import writer as usage_writer
from tidegate.ledger.usage.recorder import UsageRecorder
from tidegate.ledger.usage.report import overview, report
from tidegate.ledger.usage.retention import KEEP_HOURS_DAYS, delete_old_hours
from tidegate.ledger.usage.sessions import delete_cheap_sessions, expensive_sessions
from tidegate.ledger.usage.writer import UsageWriter

HOUR = 1_794_999_600
DAY = HOUR // DAY_SECONDS * DAY_SECONDS


def fill(database: Database) -> Database:
    """Two callers use Tidegate in each of 30 hours, which begin at 11:00 UTC."""
    clock = VirtualClock(wall_start_s=HOUR + 60)
    recorder = UsageRecorder(clock, PriceList.bundled())
    writer = UsageWriter(database, recorder, clock)
    for _ in range(30):
        hear(recorder, ended(), answered(Usage(1_000)), ended(NIGHTLY, Cause.BUDGET), answered(Usage(5_000), NIGHTLY))
        assert writer.write()
        clock.advance(HOUR_SECONDS)
    return database


@pytest.fixture
def filled(database: Database) -> Database:
    return fill(database)


@pytest.fixture(scope="module")
def filled_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The same for tests that only read."""
    database = fill(Database.in_folder(tmp_path_factory.mktemp("ledger")))
    yield database
    database.close()


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


def test_one_team_or_model_is_counted_alone(filled: Database) -> None:
    query = UsageQuery(0, ALWAYS, ("caller",))
    assert [each.group for each in report(filled, replace(query, team="data")).groups] == [{"caller": "nightly"}]
    assert report(filled, replace(query, team="data")).total.refusals == {"budget": 30}
    assert report(filled, replace(query, model="another")).groups == ()


@given(since=integers(0, 4 * 72), length=integers(1, 4 * 72), old=booleans())
def test_a_report_over_days_is_the_sum_of_its_hours(
    filled_once: Database, since: int, length: int, *, old: bool
) -> None:
    """Begins and ends are at quarters of hours, from the day before the usage to the day after it."""
    begin, end = (DAY - DAY_SECONDS + quarter * 900 for quarter in (since, since + length))
    by_hour = report(filled_once, UsageQuery(begin, end, ("hour", "caller")), HOUR).total
    assert report(filled_once, UsageQuery(begin, end, ("caller",)), HOUR).total == by_hour
    if old:  # only whole days are left
        long_ago = DAY + (KEEP_HOURS_DAYS + 3) * DAY_SECONDS
        wide = begin // DAY_SECONDS * DAY_SECONDS, -(-end // DAY_SECONDS) * DAY_SECONDS
        expected = report(filled_once, UsageQuery(*wide, ("hour",)), HOUR).total
        for by in ("caller", "hour"):
            assert report(filled_once, UsageQuery(begin, end, (by,)), long_ago).total == expected


def test_an_overview_has_the_sums_of_three_reports(filled: Database) -> None:
    query = UsageQuery(HOUR, HOUR + 50 * HOUR_SECONDS, ("team", "caller"))
    found = overview(filled, query, HOUR)
    whole = report(filled, query, HOUR)
    assert found.total == whole.total
    assert found.total.refusals == {"budget": 30}
    assert [(each.group, each.cost_micro_usd) for each in found.groups] == [
        (each.group, each.cost_micro_usd) for each in whole.groups
    ]
    days = report(filled, replace(query, by=("day",)), HOUR).groups
    assert [(each.group, each.calls) for each in found.times] == [(each.group, each.calls) for each in days]
    assert found.step_seconds == DAY_SECONDS
    short = overview(filled, replace(query, until=HOUR + 3 * HOUR_SECONDS), HOUR)
    assert [each.group["hour"] for each in short.times] == [HOUR + hour * HOUR_SECONDS for hour in range(3)]
    assert overview(filled, replace(query, team="nobody"), HOUR).total.calls == 0


def test_hours_over_400_days_old_are_deleted_and_their_days_stay(filled: Database) -> None:
    before = everything(filled, "day", "caller")
    now = DAY + (KEEP_HOURS_DAYS + 1) * DAY_SECONDS
    assert delete_old_hours(filled, now)
    assert not delete_old_hours(filled, now)
    assert everything(filled, "day", "caller") == before
    for table in (usage, refusals):
        with filled.read() as connection:
            assert connection.scalar(select(func.min(table.c.starts))) == DAY + DAY_SECONDS


def test_an_hour_that_comes_late_is_added_to_its_day(filled: Database) -> None:
    now = DAY + (KEEP_HOURS_DAYS + 1) * DAY_SECONDS
    assert delete_old_hours(filled, now)
    clock = VirtualClock(wall_start_s=HOUR)
    recorder = UsageRecorder(clock, PriceList.bundled())
    hear(recorder, ended())
    assert UsageWriter(filled, recorder, clock).write()
    before = everything(filled, "day").groups
    assert before[0].calls == 2 * 13 + 1
    assert delete_old_hours(filled, now)
    assert everything(filled, "day").groups == before


def test_a_writer_deletes_old_hours_once_a_day(filled: Database) -> None:
    clock = VirtualClock(wall_start_s=DAY + (KEEP_HOURS_DAYS + 3) * DAY_SECONDS)
    assert UsageWriter(filled, UsageRecorder(clock, PriceList.bundled()), clock).write()
    with filled.read() as connection:
        assert list(connection.scalars(select(usage.c.starts))) == []


def test_the_most_expensive_sessions_are_found_and_the_others_forgotten(database: Database) -> None:
    clock = VirtualClock(wall_start_s=HOUR)
    recorder = UsageRecorder(clock, PriceList.bundled())
    writer = UsageWriter(database, recorder, clock)
    for tokens in (1_000_000, 500_000):
        for session, share in (("a", 1), ("b", 3), ("c", 2), ("", 9)):
            hear(recorder, structs.replace(answered(Usage(tokens * share, 10, 20, 30)), session=session))
        assert writer.write()
        clock.advance(60)
    query = UsageQuery(HOUR, HOUR + 60, ("caller",))
    first, second = expensive_sessions(database, query, 2)
    assert [first.session, second.session] == ["b", "c"]
    assert (first.caller, first.team, first.first_at, first.last_at) == ("web", "shop", HOUR, HOUR + 60)
    assert (first.answers, first.input_tokens, first.output_tokens) == (2, 4_500_000, 20)
    assert (first.cache_read_tokens, first.cache_creation_tokens) == (40, 60)
    assert first.cost_micro_usd == PriceList.bundled().cost_micro_usd(HAIKU, Usage(4_500_000, 20, 40, 60), HOUR)
    assert expensive_sessions(database, replace(query, since=HOUR + 61, until=HOUR + 99), 9) == []
    assert expensive_sessions(database, replace(query, team="data"), 9) == []
    delete_cheap_sessions(database, HOUR, most=2)
    assert [each.session for each in expensive_sessions(database, query, 9)] == ["b", "c"]
    delete_cheap_sessions(database, HOUR + 31 * DAY_SECONDS)
    assert expensive_sessions(database, query, 9) == []


def test_clients_that_make_up_sessions_do_not_fill_the_table(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_writer, "_MAX_NEW_SESSIONS", 10)
    monkeypatch.setattr(usage_writer, "delete_cheap_sessions", partial(delete_cheap_sessions, most=5))
    clock = VirtualClock(wall_start_s=HOUR)
    recorder = UsageRecorder(clock, PriceList.bundled())
    writer = UsageWriter(database, recorder, clock)
    for batch in range(4):
        for number in range(6):
            hear(recorder, structs.replace(answered(Usage(1_000 * number)), session=f"{batch}-{number}"))
        assert writer.write()
    found = expensive_sessions(database, UsageQuery(0, ALWAYS, ("caller",)), 100)
    assert len(found) <= 5
    assert found[0].input_tokens == 5_000


@pytest.mark.ledger
def test_cheap_sessions_are_deleted_without_waiting_for_those_that_are_written(postgresql: PostgresqlServer) -> None:
    url = postgresql.new_database()
    with contextlib.closing(Database(url)) as database, contextlib.closing(Database(url)) as other:
        recorder = UsageRecorder(VirtualClock(), PriceList.bundled())
        hear(recorder, *(structs.replace(answered(Usage(7)), session=name) for name in ("a", "b", "c")))
        assert UsageWriter(database, recorder, VirtualClock()).write()
        with other.begin() as connection:
            connection.exec_driver_sql("UPDATE sessions SET answers = 2 WHERE session = 'b'")
            delete_cheap_sessions(database, 0, most=0)
        found = expensive_sessions(database, UsageQuery(0, ALWAYS, ("caller",)), 100)
        assert [(each.session, each.answers) for each in found] == [("b", 2)]


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
