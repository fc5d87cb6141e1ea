"""The database of the ledger: connections, migrations and backups."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from tidegate.core.domain.errors import LedgerUnavailable
from tidegate.ledger import FILE
from tidegate.ledger.migrations import LATEST

__all__ = ["Database"]

_PRIVATE_FILE: Final = 0o600
_SECONDS: Final = 10
"""For one statement, a lock, or a connection."""
_READ_ONLY: Final = MappingProxyType({"reads": True})
_MIGRATION_LOCK: Final = 0x7469646567617465
"""Key of PostgreSQL's advisory lock: one replica migrates at a time."""
_CHANGE_LOCK: Final = _MIGRATION_LOCK + 1
"""Key of the advisory lock of `begin_alone`."""


class Database:
    """A database in SQLite or PostgreSQL. It is migrated when it is first used, and again after a failure.

    Used by several threads. Every method waits for the database.

    Args:
        url: of the database, as SQLAlchemy reads it.

    Attributes:
        url: the same, parsed.
    """

    def __init__(self, url: str | URL) -> None:
        self.url = make_url(url)
        self._engine = _engine(self.url)
        self._is_migrated = False

    @classmethod
    def in_folder(cls, folder: Path) -> "Database":
        """The SQLite database of a state folder."""
        return cls(URL.create("sqlite", database=str(folder / FILE)))

    @property
    def is_postgresql(self) -> bool:
        """Whether the database is PostgreSQL."""
        return self._engine.dialect.name == "postgresql"

    @contextlib.contextmanager
    def begin(self, options: Mapping[str, Any] = MappingProxyType({})) -> Iterator[Connection]:
        """A transaction, committed at the end of the block.

        Raises:
            LedgerUnavailable: the database cannot be used, or the transaction failed. Nothing is committed, except if
                the connection broke while it was committed.
        """
        try:
            if not self._is_migrated:
                self._migrate()
            with self._engine.connect().execution_options(**options) as connection, connection.begin():
                yield connection
        except (SQLAlchemyError, LedgerUnavailable, OSError) as error:
            # The file may be another one when it is back, for example on a disk that was replaced.
            self._is_migrated = False
            self._engine.dispose()
            raise LedgerUnavailable(_reason(error)) from None

    @contextlib.contextmanager
    def begin_alone(self) -> Iterator[Connection]:
        """A transaction that overlaps no other one of this kind, in any process: for a change that follows from a read.

        In SQLite, every transaction that writes is alone. PostgreSQL shows a transaction what others commit between its
        statements, so that two changes could follow from the same read.

        Raises:
            LedgerUnavailable: as `begin`.
        """
        with self.begin() as connection:
            if self.is_postgresql:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CHANGE_LOCK})
            yield connection

    @contextlib.contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads; it waits for no writer.

        Raises:
            LedgerUnavailable: as `begin`.
        """
        with self.begin(_READ_ONLY) as connection:
            yield connection

    def backup(self, to: Path) -> None:
        """Copies a SQLite database into a file while it is in use. The copy is of one moment, and for its owner only.

        Raises:
            LedgerUnavailable: there is no database, it cannot be read, or the file cannot be written.
        """
        if not Path(self.url.database or "").exists():
            raise LedgerUnavailable(f"there is no ledger yet: {self.url.database} does not exist")
        try:
            _create_private(to)
            with self._engine.connect() as connection, contextlib.closing(sqlite3.connect(to)) as copy:
                source: Any = connection.connection.driver_connection
                source.backup(copy)
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise LedgerUnavailable(_reason(error)) from None

    def close(self) -> None:
        """Closes the connections that no thread uses."""
        self._engine.dispose()

    def _migrate(self) -> None:
        """Brings the tables to the state of this version.

        Raises:
            LedgerUnavailable: a newer version has written the database.
        """
        if self.url.get_backend_name() == "sqlite":
            _create_private(Path(self.url.database or ""))
        with self._engine.connect().execution_options(**_READ_ONLY) as connection, connection.begin():
            is_current = _revision(connection) == LATEST
        if not is_current:
            from tidegate.ledger.migrate import migrate  # noqa: PLC0415 - most starts do without Alembic

            with self._engine.begin() as connection:
                if self.is_postgresql:
                    connection.execute(text("SET LOCAL statement_timeout = 0"))  # a long table may take minutes
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                migrate(connection)
        self._is_migrated = True


def _revision(connection: Connection) -> str | None:
    """The revision of the tables; None if there are none."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": _SECONDS})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediately)
        return engine
    options = f"-c statement_timeout={_SECONDS}s -c lock_timeout={_SECONDS}s -c idle_in_transaction_session_timeout=60s"
    keep_alive = {"keepalives_idle": _SECONDS, "keepalives_interval": _SECONDS, "keepalives_count": 2}
    arguments = {"connect_timeout": _SECONDS, "tcp_user_timeout": _SECONDS * 1000, "options": options, **keep_alive}
    return create_engine(url.set(drivername="postgresql+psycopg"), connect_args=arguments, pool_pre_ping=True)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """WAL: readers do not wait for the writer. NORMAL: a crash of the machine may lose the last transactions."""
    connection.isolation_level = None  # transactions begin where SQLAlchemy says, see `_begin_immediately`
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Changes a file to WAL, once. SQLite does not wait for other processes when it does that, whatever the timeout."""
    give_up_at = time.monotonic() + _SECONDS
    while not _is_changed_to_wal(connection) and time.monotonic() < give_up_at:
        time.sleep(0.01)


def _is_changed_to_wal(connection: sqlite3.Connection) -> bool:
    """Returns False while another process uses the file. A file system without shared memory keeps its mode."""
    if connection.execute("PRAGMA journal_mode").fetchone() == ("wal",):
        return True
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def _begin_immediately(connection: Connection) -> None:
    """Takes the lock at the beginning: a transaction that writes after it has read could fail at once otherwise."""
    reads = connection.get_execution_options().get("reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _create_private(path: Path) -> None:
    """Creates the file, for its owner only. If root creates it, it belongs to the owner of the folder."""
    if path.exists():
        return
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _PRIVATE_FILE))
    folder = path.parent.stat()
    if os.geteuid() == 0 and folder.st_uid != 0:
        os.chown(path, folder.st_uid, folder.st_gid)


def _reason(error: Exception) -> str:
    """The first line of an error, without the statement and its values."""
    cause = getattr(error, "orig", None) or error
    return (str(cause).strip().splitlines() or [type(cause).__name__])[0]
