"""The tables: made by the migrations, from every revision upward, as the code describes them."""

import contextlib
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from support.ledgers import WEB, answered, ended, everything, hear, migrate, migrations
from support.virtual_time import VirtualClock
from tidegate.core.domain.errors import LedgerUnavailable
from tidegate.core.domain.usage import Usage
from tidegate.core.pricing.price_list import PriceList
from tidegate.ledger.database import Database
from tidegate.ledger.migrations import LATEST
from tidegate.ledger.tables import metadata
from tidegate.ledger.usage.recorder import UsageRecorder
from tidegate.ledger.usage.writer import UsageWriter

REVISIONS = [script.revision for script in ScriptDirectory.from_config(migrations()).walk_revisions()][::-1]


def test_the_revisions_are_one_line_in_the_order_of_their_numbers() -> None:
    assert [f"{number:04}" for number in range(1, len(REVISIONS) + 1)] == REVISIONS
    assert REVISIONS[-1] == LATEST


def test_the_migrations_make_the_tables_that_the_code_describes(database: Database) -> None:
    with database.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_database_of_each_revision_becomes_the_newest(revision: str, url: str) -> None:
    migrate(url, revision)
    database = Database(url)
    recorder = UsageRecorder(VirtualClock(), PriceList.bundled())
    hear(recorder, answered(Usage(7)), ended())
    assert UsageWriter(database, recorder, VirtualClock()).write()
    assert everything(database).total.input_tokens == 7
    with database.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    database.close()


def test_a_database_of_the_newest_revision_is_opened_without_alembic(url: str) -> None:
    migrate(url, LATEST)
    opens = "import sys; from tidegate.ledger.database import Database; database = Database(sys.argv[1])"
    code = f"{opens}\nwith database.begin(): pass\nprint('alembic' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"


def test_usage_survives_a_second_opening(url: str) -> None:
    for _ in range(2):
        database = Database(url)
        recorder = UsageRecorder(VirtualClock(), PriceList.bundled())
        hear(recorder, ended(WEB))
        assert UsageWriter(database, recorder, VirtualClock()).write()
        database.close()
    database = Database(url)
    assert everything(database).total.calls == 2
    database.close()


def test_processes_that_start_at_once_do_not_disturb_each_other(url: str) -> None:
    databases = [Database(url) for _ in range(4)]

    def use(database: Database) -> int:
        with database.begin() as connection:
            return int(connection.execute(text("SELECT count(*) FROM usage")).scalar_one())

    with ThreadPoolExecutor(4) as at_once:
        assert list(at_once.map(use, databases)) == [0] * 4
    for database in databases:
        database.close()


def test_a_new_file_waits_for_another_process_that_is_creating_it(tmp_path: Path) -> None:
    database = Database.in_folder(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.sqlite", check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        end = threading.Timer(0.3, other.rollback)
        end.start()
        with database.begin() as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        end.join()
    database.close()


def test_a_database_of_a_newer_version_is_left_alone(database: Database, url: str) -> None:
    with database.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    newer = Database(url)
    with pytest.raises(LedgerUnavailable, match="9999"), newer.begin():
        pass
    newer.close()


def test_the_file_in_the_state_folder_is_for_its_owner_only(tmp_path: Path) -> None:
    database = Database.in_folder(tmp_path)
    with database.begin():
        pass
    database.close()
    assert stat.S_IMODE((tmp_path / "ledger.sqlite").stat().st_mode) == 0o600
