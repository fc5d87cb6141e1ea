"""Deletes the hours of usage that are older than 400 days. Their days are kept."""

from typing import Final

from sqlalchemy import delete, func, select

from tidegate.ledger.database import Database
from tidegate.ledger.tables import DAY_SECONDS, refusals, usage

__all__ = ["KEEP_HOURS_DAYS", "delete_old_hours", "first_hour"]

KEEP_HOURS_DAYS: Final = 400
"""For so many days, usage is kept by the hour. Days are kept for ever."""


def first_hour(now: float) -> int:
    """The beginning of the first day whose hours are kept, in seconds since 1970-01-01 UTC."""
    return (int(now) // DAY_SECONDS - KEEP_HOURS_DAYS) * DAY_SECONDS


def delete_old_hours(database: Database, now: float) -> bool:
    """Deletes the hours of the oldest day that is over 400 days old. Returns whether there was such a day.

    One day at a time, so that no transaction takes long.

    Args:
        database: the database.
        now: seconds since 1970-01-01 UTC.

    Raises:
        LedgerUnavailable: the database failed; nothing changed.
    """
    limit = first_hour(now)
    with database.begin() as connection:
        oldest = [connection.scalar(select(func.min(table.c.starts))) for table in (usage, refusals)]
        old = [starts for starts in oldest if starts is not None and starts < limit]
        if not old:
            return False
        next_day = (int(min(old)) // DAY_SECONDS + 1) * DAY_SECONDS
        for table in (usage, refusals):
            connection.execute(delete(table).where(table.c.starts < next_day))
    return True
