"""Spending of callers and sessions, for budgets, and reservations of calls in progress."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, Table, delete, func, select, text

from tidegate.core.domain.budget import NOTHING_SPENT, Spender, Spending
from tidegate.core.ports.clock import Clock
from tidegate.ledger.database import Database
from tidegate.ledger.tables import reservations, spending
from tidegate.ledger.usage.add_up import add_up
from tidegate.ledger.usage.recorder import UsageRecorder
from tidegate.ledger.usage.reservation_writer import ReservationWriter, named
from tidegate.ledger.usage.sums import SLOT_SECONDS

__all__ = ["KEEP_DAYS", "LedgerSpending", "forget_old_spending"]

KEEP_DAYS: Final = 62
"""So long, spending is kept by the quarter of an hour. It is longer than any period but the total."""
_DAY_SECONDS: Final = 86_400
_MOST_SESSIONS: Final = 10_000
_DEAD_SECONDS: Final = 5.0
"""A process that has not written what it has reserved for so long is dead."""
_AMOUNTS: Final = ("micro_usd", "tokens")


class LedgerSpending:
    """Implements `SpendingStore`.

    Args:
        database: the database.
        recorder: adds up spending in memory.
        reservations: writes what is reserved.
        clock: the time of this machine.
    """

    def __init__(
        self, database: Database, recorder: UsageRecorder, reservations: ReservationWriter, clock: Clock
    ) -> None:
        self._database = database
        self._recorder = recorder
        self._reservations = reservations
        self._clock = clock

    def now(self) -> float:
        """As `SpendingStore.now`."""
        return self._clock.wall_seconds() + self._recorder.ahead_seconds

    def record(self, spender: Spender, spending: Spending) -> None:
        """As `SpendingStore.record`."""
        self._recorder.spend(spender, spending)

    def keep(self, reserved: Callable[[], Mapping[Spender, Spending]] | None, *, sessions: bool) -> None:
        """As `SpendingStore.keep`."""
        self._recorder.keeps_sessions = sessions
        self._reservations.reserved = reserved

    def spent_since(self, starts: int, *, by_session: bool) -> Sequence[tuple[Spender, Spending]]:
        """As `SpendingStore.spent_since`. By session, the 10,000 that were the last to spend something.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        table = spending.c
        columns = (table.caller, table.team, *((table.session,) if by_session else ()))
        sums = [func.sum(table[name]) for name in _AMOUNTS]
        query = select(*columns, *sums).where(table.starts >= starts).group_by(*columns)
        if by_session:
            query = query.where(table.session != "").order_by(func.max(table.starts).desc()).limit(_MOST_SESSIONS)
        with self._database.read() as connection:
            self._read_clock(connection)
            rows = connection.execute(query).all()
        return [(Spender(*names), Spending(int(usd), int(tokens))) for *names, usd, tokens in rows]

    def settle_dead(self, *, sole: bool) -> Sequence[tuple[Spender, Spending]]:
        """As `SpendingStore.settle_dead`.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        dead = reservations.c.writer != self._reservations.writer
        if not sole:
            dead &= reservations.c.written_at < self.now() - _DEAD_SECONDS
        with self._database.begin() as connection:
            self._read_clock(connection)
            found = _take(connection, reservations, dead, Spender._fields)
            _add(connection, int(self.now()) // SLOT_SECONDS * SLOT_SECONDS, found)
        return list(found.items())

    def _read_clock(self, connection: Connection) -> None:
        if self._database.is_postgresql:
            seconds = connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())"))
            self._recorder.ahead_seconds = float(seconds or 0.0) - self._clock.wall_seconds()


def forget_old_spending(database: Database, now: int) -> None:
    """Adds the spending of callers that is over 62 days old to one row each, and forgets that of sessions.

    Raises:
        LedgerUnavailable: the database failed; nothing changed.
    """
    limit = now - KEEP_DAYS * _DAY_SECONDS
    with database.begin() as connection:
        old = (spending.c.starts > 0) & (spending.c.starts < limit)
        _add(connection, 0, _take(connection, spending, old, ("caller", "team")))


def _take(
    connection: Connection, table: Table, where: ColumnElement[bool], names: tuple[str, ...]
) -> dict[Spender, Spending]:
    """Deletes rows, and returns their sums by these columns.

    In one statement, so that each row is taken once: all replicas do this at the same time, at midnight for example.
    """
    columns = [table.c[name] for name in (*names, *_AMOUNTS)]
    sums: dict[Spender, Spending] = {}
    for *spender, micro_usd, tokens in connection.execute(delete(table).where(where).returning(*columns)):
        before = sums.get(Spender(*spender), NOTHING_SPENT)
        sums[Spender(*spender)] = Spending(before.micro_usd + micro_usd, before.tokens + tokens)
    return sums


def _add(connection: Connection, starts: int, amounts: Mapping[Spender, Spending]) -> None:
    rows = [{"starts": starts, **named(spender), **amount._asdict()} for spender, amount in amounts.items()]
    add_up(connection, spending, rows, _AMOUNTS)
