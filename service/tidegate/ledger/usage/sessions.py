"""The most expensive recent sessions in the ledger."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, select, tuple_

from tidegate.core.ports.usage_sink import SessionUsage, UsageQuery
from tidegate.ledger.database import Database
from tidegate.ledger.tables import DAY_SECONDS, SESSION_SUMS, sessions

__all__ = ["MAX_SESSIONS", "delete_cheap_sessions", "expensive_sessions"]

MAX_SESSIONS: Final = 20_000
"""Rows of the table. Clients choose the ids of sessions, so nothing else bounds it."""
_KEEP_SECONDS: Final = 30 * DAY_SECONDS
_COLUMNS: Final = ("team", "caller", "session", "first_at", "last_at", *SESSION_SUMS)


def expensive_sessions(database: Database, query: UsageQuery, limit: int) -> Sequence[SessionUsage]:
    """The most expensive sessions that were active in the time of a query, with all their usage.

    Raises:
        LedgerUnavailable: the database does not answer.
    """
    active = (sessions.c.last_at >= query.since) & (sessions.c.first_at < query.until)
    for name, value in (("team", query.team), ("caller", query.caller)):
        active &= sessions.c[name] == value if value is not None else True
    wanted = select(*(sessions.c[name] for name in _COLUMNS)).where(active)
    by_cost = wanted.order_by(sessions.c.cost_micro_usd.desc(), sessions.c.output_tokens.desc()).limit(limit)
    with database.read() as connection:
        return [SessionUsage(**row) for row in connection.execute(by_cost).mappings()]


def delete_cheap_sessions(database: Database, now: float, most: int = MAX_SESSIONS) -> None:
    """Deletes sessions that ended over 30 days ago, and all but the most expensive ones if there are too many.

    Args:
        database: the database.
        now: seconds since 1970-01-01 UTC.
        most: sessions to keep.

    Raises:
        LedgerUnavailable: the database failed; nothing changed.
    """
    cost = sessions.c.cost_micro_usd
    with database.begin() as connection:
        _delete(connection, sessions.c.last_at < now - _KEEP_SECONDS)
        cheapest = connection.scalar(select(cost).order_by(cost.desc()).offset(most).limit(1))
        if cheapest is not None:
            _delete(connection, cost <= cheapest)


def _delete(connection: Connection, where: ColumnElement[bool]) -> None:
    """Deletes sessions, but none that another process is writing: two that wait for each other's rows would fail."""
    key = tuple(sessions.primary_key)
    free = select(*key).where(where).with_for_update(skip_locked=True)
    connection.execute(delete(sessions).where(tuple_(*key).in_(free)))
