"""Writing usage: exactly once, in the background, whatever the database does."""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as replaced
from sqlalchemy import Connection, event

from support.ledgers import NIGHTLY, WEB, answered, ended, everything, hear
from support.postgresql_server import PostgresqlServer
from support.virtual_time import VirtualClock
from tidegate.core.domain.budget import Spending
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.errors import LedgerUnavailable, Refusal
from tidegate.core.domain.events import LeaseEnded, RequestFinished
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.key_store import NewCaller
from tidegate.core.pricing.price_list import PriceList
from tidegate.engine.clock import SystemClock
from tidegate.identity.identify import key_hash, new_key
from tidegate.ledger.access.key_administration import Keys
from tidegate.ledger.database import Database
from tidegate.ledger.ledger import Ledger
from tidegate.ledger.usage.recorder import UsageRecorder
from tidegate.ledger.usage.writer import UsageWriter
from tidegate.stores.memory import MemoryStore

PATIENCE_SECONDS = 20


class LosesAnswers(Database):
    """Commits, and then breaks its connection, so that nobody learns of it."""

    lost = 0

    @contextlib.contextmanager
    def begin(self, *arguments: Any) -> Iterator[Connection]:
        with super().begin(*arguments) as connection:
            yield connection
        if self.lost < 2:
            self.lost += 1
            raise LedgerUnavailable("the connection broke")


def new_writer(database: Database, clock: VirtualClock | None = None) -> tuple[UsageRecorder, UsageWriter]:
    clock = clock or VirtualClock()
    recorder = UsageRecorder(clock, PriceList.bundled())
    return recorder, UsageWriter(database, recorder, clock)


def new_ledger(database: Database, clock: Clock | None = None, *, required: bool = False) -> Ledger:
    return Ledger(database, clock or VirtualClock(), PriceList.bundled(), required=required, new_key=new_key)


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_batches_of_several_writers_add_up(database: Database) -> None:
    for _ in range(2):
        recorder, writer = new_writer(database)
        for _ in range(2):
            hear(recorder, ended(), answered(Usage(100, 20, 3, 4)), ended(NIGHTLY, Cause.DEADLINE))
            assert writer.write()
    found = everything(database, "caller", "team")
    (web, nightly) = found.groups
    assert web.group == {"caller": "web", "team": "shop"}
    assert (web.calls, web.input_tokens, web.output_tokens, web.cache_read_tokens, web.cache_creation_tokens) == (
        *(4, 400, 80, 12, 16),
    )
    assert web.cost_micro_usd == 4 * 21  # 10 + 10 + 0.03 + 0.5 micro-dollars
    assert (nightly.refused, nightly.refusals) == (4, {"deadline": 4})
    assert (found.total.calls, found.total.refusals) == (8, {"deadline": 4})


def test_a_batch_counts_once_although_the_answer_to_its_commit_was_lost(url: str) -> None:
    database = LosesAnswers(url)
    recorder, writer = new_writer(database)
    hear(recorder, ended())
    assert not writer.write()
    hear(recorder, ended())  # belongs to the next batch
    assert not writer.write()
    assert writer.write()
    assert writer.write()
    assert everything(database).total.calls == 2
    database.close()


@pytest.mark.parametrize("model", ["a\0b", "a\ud800b"], ids=["NUL", "half a surrogate pair"])
def test_a_name_that_no_database_takes_stops_no_write(database: Database, model: str) -> None:
    recorder, writer = new_writer(database)
    hear(recorder, answered(Usage(100, 20), model=model), ended(model=model))
    assert writer.write()
    (group,) = everything(database, "model").groups
    assert str(group.group["model"])[::2] == "ab"


@pytest.mark.ledger
def test_a_key_that_was_revoked_ends_while_a_write_of_usage_waits(postgresql: PostgresqlServer) -> None:
    database = Database(postgresql.new_database())
    ledger, elsewhere = new_ledger(database, SystemClock()), Keys(database, new_key)
    ledger.prepare()
    ledger.start()
    try:
        made = elsewhere.create(NewCaller("web", "shop"), expires_at=None, by="ann")
        wait_until(lambda: ledger.key_store.find(key_hash(made.key)) is not None)
        with database.begin() as connection:
            connection.exec_driver_sql("LOCK TABLE usage IN SHARE MODE")
            dict(ledger.handlers)[RequestFinished](ended())
            wait_until(lambda: ledger.status().unwritten_seconds > 1)
            elsewhere.revoke(made.id, by="ann")
            revoked_at = time.monotonic()
            wait_until(lambda: ledger.key_store.find(key_hash(made.key)) is None)
            assert time.monotonic() - revoked_at < 5  # the write waits for 10
    finally:
        ledger.stop()


def test_nothing_is_written_if_nothing_happened(database: Database) -> None:
    _, writer = new_writer(database)
    assert writer.write()
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM writers").scalar() == 0


def test_while_the_folder_is_missing_usage_is_kept_and_the_log_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "state"
    database, clock = Database.in_folder(folder), VirtualClock()
    recorder, writer = new_writer(database, clock)
    for _ in range(3):
        hear(recorder, ended())
        assert not writer.write()
        clock.advance(2)
    status = writer.status()
    assert (status.up, status.unwritten_seconds, status.failures, status.lost) == (False, 6.0, 3, 0)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    folder.mkdir()
    assert writer.write()  # the batch that failed
    assert writer.write()  # and what came meanwhile
    assert writer.status()[:3] == (True, 0.0, 3)
    assert caplog.records[-1].message == "the ledger is written again"
    assert everything(database).total.calls == 3
    database.close()


def test_a_disk_that_was_replaced_is_used_after_the_first_failure(tmp_path: Path) -> None:
    database = Database.in_folder(tmp_path)
    recorder, writer = new_writer(database)
    hear(recorder, ended())
    assert writer.write()
    database.close()
    for path in tmp_path.glob("ledger.sqlite*"):
        path.unlink()
    hear(recorder, ended(), ended())
    while not writer.write():
        pass
    assert everything(database).total.calls == 2
    database.close()


def test_a_full_disk_is_a_failed_write(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = Database.in_folder(tmp_path)
    recorder, writer = new_writer(database)
    with database.begin() as connection:  # the connection is kept, and with it the bound
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    hear(recorder, *(ended(replace(WEB, label=f"caller-{number}")) for number in range(2_000)))
    assert not writer.write()
    assert "database or disk is full" in caplog.text
    assert writer.write()  # another connection has no such bound
    assert everything(database).total.calls == 2_000
    database.close()


@pytest.mark.parametrize("what", ["keys", "usage"])
def test_a_ledger_that_is_required_refuses_calls_while_the_database_hangs(database: Database, what: str) -> None:
    clock = VirtualClock()
    ledger = new_ledger(database, clock, required=True)
    ledger.prepare()
    refused: list[bool] = []

    def hang(*execution: Any) -> None:
        if f"INTO {what} " not in execution[2] and f"FROM {what} " not in execution[2]:
            return
        for _ in range(2):
            clock.advance(3)
            try:
                ledger.check()
            except Refusal:
                refused.append(True)
            else:
                refused.append(False)

    hear_all = dict(ledger.handlers)
    hear_all[RequestFinished](ended())
    event.listen(database._engine, "before_cursor_execute", hang)
    ledger.prepare()
    assert refused == [False, True]
    ledger.check()


def test_calls_are_refused_only_if_the_ledger_is_required(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    required = new_ledger(Database.in_folder(folder), required=True)
    optional = new_ledger(Database.in_folder(folder))
    required.check()
    required.prepare()
    optional.prepare()
    optional.check()
    with pytest.raises(Refusal) as raised:
        required.check()
    assert raised.value.cause is Cause.LEDGER_UNAVAILABLE
    folder.mkdir()
    required.prepare()
    required.check()


def test_no_lock_that_a_call_needs_is_held_while_the_database_works(url: str) -> None:
    clock = VirtualClock()
    database, store = Database(url), MemoryStore(clock)
    ledger = new_ledger(database, clock, required=True)
    ledger.spending.keep(store.reserved_now, sessions=True)
    ledger.prepare()
    caller = Caller("web", label="web")
    lease = LeaseEnded("p", caller, "settled", Cost(1), Cost(1), "session", Spending(1, 1))
    record, waiting = dict(ledger.handlers), list[str]()
    statements = 0

    def call() -> None:
        for each in (ended(), replaced(answered(Usage(1)), session="session"), lease):
            record[type(each)](each)
        ledger.check()
        ledger.key_store.find("0" * 64)
        store.reserve_now(f"lease-{statements}", Demand("p", caller, Cost(1), spending=Spending(1, 1)))
        ledger.status()

    def while_the_database_works(*execution: Any) -> None:
        nonlocal statements
        statements += 1
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(PATIENCE_SECONDS)
        if thread.is_alive():
            waiting.append(execution[2])

    event.listen(database._engine, "before_cursor_execute", while_the_database_works)
    call()
    ledger.prepare()
    event.remove(database._engine, "before_cursor_execute", while_the_database_works)
    assert waiting == []
    ledger.prepare()
    assert everything(database).total.calls == 1 + statements > 5
    database.close()


def test_a_database_that_hangs_loses_nothing(
    url: str, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    clock = SystemClock()
    database = Database(url)
    ledger = new_ledger(database, clock, required=True)
    ledger.prepare()
    ledger.start()
    try:
        record = dict(ledger.handlers)
        with contextlib.ExitStack() as hang:
            if database.is_postgresql:
                server = request.getfixturevalue("postgresql")
                hang.enter_context(server.stopped())
            else:
                other = hang.enter_context(contextlib.closing(sqlite3.connect(str(database.url.database))))
                other.execute("BEGIN EXCLUSIVE")
                hang.callback(other.rollback)
            for _ in range(1_000):
                record[RequestFinished](ended())
            wait_until(lambda: ledger.status().unwritten_seconds > 5.5)
            with pytest.raises(Refusal):
                ledger.check()
        wait_until(lambda: ledger.status().unwritten_seconds == 0)
        assert everything(database).total.calls == 1_000
    finally:
        ledger.stop()


def test_a_ledger_that_stops_has_written_everything(url: str) -> None:
    database = Database(url)
    ledger = new_ledger(database, SystemClock())
    ledger.prepare()
    ledger.start()
    hear_all = dict(ledger.handlers)
    threads = [
        threading.Thread(target=lambda: [hear_all[type(each)](each) for each in [ended(WEB)] * 500]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ledger.stop()
    assert ledger.status().unwritten_seconds == 0
    assert everything(database).total.calls == 2_000
    database.close()
