"""Merges the hours of usage that are older than 400 days into days."""

from typing import Final

from sqlalchemy import Connection, Table, delete, func, insert, select

from tidegate.ledger.database import Database
from tidegate.ledger.tables import HOUR_SECONDS, SUMS, refusals, usage

__all__ = ["DAY_SECONDS", "KEEP_HOURS_DAYS", "merge_old_hours"]

DAY_SECONDS: Final = 86_400
KEEP_HOURS_DAYS: Final = 400
"""For so many days, usage is kept by the hour. The days before are kept for ever."""


def merge_old_hours(database: Database, now: int) -> bool:
    """Merges the hours of the oldest day that is over 400 days old into one row per key.

    Returns whether there was such a day. One day at a time, so that no transaction takes long.

    Args:
        database: the database.
        now: seconds since 1970-01-01 UTC.

    Raises:
        LedgerUnavailable: the database failed; nothing changed.
    """
    limit = (now // DAY_SECONDS - KEEP_HOURS_DAYS) * DAY_SECONDS
    with database.begin() as connection:
        days = [day for table in (usage, refusals) if (day := _oldest_day(connection, table, limit)) is not None]
        if not days:
            return False
        _merge(connection, usage, min(days), SUMS)
        _merge(connection, refusals, min(days), ("calls",))
    return True


def _oldest_day(connection: Connection, table: Table, limit: int) -> int | None:
    hours = (table.c.seconds == HOUR_SECONDS) & (table.c.starts < limit)
    oldest = connection.scalar(select(func.min(table.c.starts)).where(hours))
    return None if oldest is None else int(oldest) // DAY_SECONDS * DAY_SECONDS


def _merge(connection: Connection, table: Table, day: int, summed: tuple[str, ...]) -> None:
    hours = (table.c.seconds == HOUR_SECONDS) & (table.c.starts >= day) & (table.c.starts < day + DAY_SECONDS)
    keys = [column.name for column in table.primary_key if column.name not in {"starts", "seconds"}]
    # A day's row may exist already, if an hour came late: it is added to the hours and replaced.
    both = hours | ((table.c.seconds == DAY_SECONDS) & (table.c.starts == day))
    sums = [func.sum(table.c[name]).label(name) for name in summed]
    rows = connection.execute(
        select(*(table.c[name] for name in keys), *sums).where(both).group_by(*(table.c[name] for name in keys))
    )
    merged = [{**row, **{name: int(row[name]) for name in summed}} for row in rows.mappings()]
    connection.execute(delete(table).where(both))
    if merged:
        connection.execute(insert(table), [{"starts": day, "seconds": DAY_SECONDS, **row} for row in merged])
