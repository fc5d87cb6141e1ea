"""Writes sums of usage to the database, from a thread of its own."""

import logging
import secrets
import time
from collections.abc import Callable
from typing import Any, Final

from msgspec.structs import asdict
from sqlalchemy import Connection, bindparam, delete, select

from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.usage_sink import SinkStatus
from tidegate.ledger.background_work import BackgroundWork
from tidegate.ledger.database import Database
from tidegate.ledger.tables import (
    DAY_SECONDS,
    DIMENSIONS,
    HOUR_SECONDS,
    SESSION_SUMS,
    SUMS,
    refusal_days,
    refusals,
    sessions,
    spending,
    usage,
    usage_days,
    writers,
)
from tidegate.ledger.usage.add_up import add_up
from tidegate.ledger.usage.recorder import UsageRecorder
from tidegate.ledger.usage.reservation_writer import ReservationWriter
from tidegate.ledger.usage.retention import delete_old_hours
from tidegate.ledger.usage.sessions import delete_cheap_sessions
from tidegate.ledger.usage.spending import forget_old_spending
from tidegate.ledger.usage.sums import Pending

__all__ = ["UsageWriter"]

logger = logging.getLogger("tidegate.ledger")

_FAILING: Final = "the ledger cannot be written; usage is kept in memory"
_WORKS_AGAIN: Final = "the ledger is written again"
_MAX_NEW_SESSIONS: Final = 10_000
"""After so many written sessions, the cheapest are deleted before the day is over."""
_FORGET_WRITERS_SECONDS: Final = 30 * DAY_SECONDS
_NEXT_BATCH: Final = (  # to build a statement takes as long as to execute it
    writers.update()
    .where(writers.c.writer == bindparam("_writer"), writers.c.batch < bindparam("_number"))
    .values(batch=bindparam("_number"), written_at=bindparam("_now"))
)

_Row = dict[str, Any]
"""The values of a row by their columns."""


class UsageWriter:
    """Writes what a recorder adds up, every half second.

    A batch counts once. It is written in one transaction with its number, and if the answer to the commit is lost, the
    number says whether it was written. A batch that fails is written again until it succeeds, while the recorder goes
    on adding up the next one.

    Args:
        database: the database.
        recorder: has the sums.
        clock: the time.
        on_turn: called in the thread before each write; may raise `LedgerUnavailable`.
        reservations: written beside the sums; None: there are none.
    """

    def __init__(
        self,
        database: Database,
        recorder: UsageRecorder,
        clock: Clock,
        *,
        on_turn: Callable[[], None] = lambda: None,
        reservations: ReservationWriter | None = None,
    ) -> None:
        self._reservations = reservations
        self._on_turn = on_turn
        self._database = database
        self._recorder = recorder
        self._clock = clock
        self._writer = secrets.token_hex(16)
        self._number = 0
        self._batch: Pending | None = None
        self._cleared_day = 0
        self._written_sessions = 0
        self._work = BackgroundWork("ledger-usage", self._write, clock, _FAILING, _WORKS_AGAIN, last_turns=2)

    def start(self) -> None:
        """Starts the thread."""
        self._work.start()

    def stop(self, timeout_seconds: float) -> None:
        """Writes what is left and ends the thread. Gives up after a time: the database may not answer."""
        self._work.stop(timeout_seconds)
        if self.status().unwritten_seconds:
            logger.error("the usage of the last %.0f s was not written", self.status().unwritten_seconds)

    def status(self) -> SinkStatus:
        """The state of the writer."""
        since_ns = self._recorder.since_ns()
        unwritten_ns = 0 if since_ns is None else self._clock.monotonic_ns() - since_ns
        return SinkStatus(self._work.up, unwritten_ns / NS_PER_SECOND, self._work.failures, self._recorder.lost)

    def is_behind(self, after_ns: int) -> bool:
        """Whether usage has waited for longer, or cannot be written."""
        batch = self._batch
        is_late = batch is not None and self._clock.monotonic_ns() - batch.since_ns > after_ns
        return is_late or self._work.is_stuck(after_ns)

    def write(self) -> bool:
        """Writes the sums so far. Returns whether that succeeded; a failure is logged once, until a write succeeds."""
        return self._work.turn()

    def _write(self) -> None:
        # Read first: a call that ends meanwhile then counts twice if the process dies, and not never.
        reserved = None if self._reservations is None else self._reservations.changed()
        if self._batch is None:
            self._batch = self._recorder.take()
            self._number += self._batch is not None
        self._on_turn()
        if self._batch is not None or reserved is not None or not self._work.up:
            with self._database.begin() as connection:
                if self._reservations is not None and reserved is not None:  # first, as in `settle_dead`
                    self._reservations.write(connection, reserved)
                self._add(connection, self._batch)
            self._batch = None
            self._recorder.written()
            if self._reservations is not None and reserved is not None:
                self._reservations.written(reserved)
        self._delete_old_hours()

    def _add(self, connection: Connection, batch: Pending | None) -> None:
        if batch is None or not _is_new(connection, self._writer, self._number, int(time.time())):
            return
        used = [
            dict(zip(("starts", *DIMENSIONS, *SUMS), (*key, *sums.row()), strict=True))
            for key, sums in batch.sums.items()
        ]
        refused = [
            dict(zip(("starts", *DIMENSIONS, "cause", "calls"), (*key, cause, calls), strict=True))
            for key, sums in batch.sums.items()
            for cause, calls in sums.refusals.items()
        ]
        add_up(connection, usage, _hours(used), SUMS)
        add_up(connection, usage_days, _days(used), SUMS)
        add_up(connection, refusals, _hours(refused), ("calls",))
        add_up(connection, refusal_days, _days(refused), ("calls",))
        add_up(
            connection,
            sessions,
            [{"caller": key[0], "session": key[1], **asdict(sums)} for key, sums in batch.sessions.items()],
            SESSION_SUMS,
            replaced=("team", "last_at"),
        )
        add_up(
            connection,
            spending,
            [dict(zip(_SPENDING_COLUMNS, (*key, *amounts), strict=True)) for key, amounts in batch.spending.items()],
            ("micro_usd", "tokens"),
        )
        self._written_sessions += len(batch.sessions)

    def _delete_old_hours(self) -> None:
        """Deletes hours that are kept as days, and cheap sessions, once a day."""
        now = self._clock.wall_seconds()
        if self._written_sessions > _MAX_NEW_SESSIONS:
            delete_cheap_sessions(self._database, now)
            self._written_sessions = 0
        if int(now) // DAY_SECONDS != self._cleared_day:
            while delete_old_hours(self._database, now):
                pass
            delete_cheap_sessions(self._database, now)
            forget_old_spending(self._database, int(now))
            self._cleared_day = int(now) // DAY_SECONDS


_SPENDING_COLUMNS: Final = ("starts", "team", "caller", "session", "micro_usd", "tokens")


def _hours(rows: list[_Row]) -> list[_Row]:
    return [{**row, "seconds": HOUR_SECONDS} for row in rows]


def _days(rows: list[_Row]) -> list[_Row]:
    return [{**row, "starts": row["starts"] // DAY_SECONDS * DAY_SECONDS} for row in rows]


def _is_new(connection: Connection, writer: str, number: int, now: int) -> bool:
    """Whether a batch was not written before. Records that it is written."""
    named = {"_writer": writer, "_number": number, "_now": now}
    if connection.execute(_NEXT_BATCH, named).rowcount:
        return True
    if connection.scalar(select(writers.c.batch).where(writers.c.writer == writer)) is not None:
        return False
    connection.execute(delete(writers).where(writers.c.written_at < now - _FORGET_WRITERS_SECONDS))
    connection.execute(writers.insert().values(writer=writer, batch=number, written_at=now))
    return True
