"""Answers questions about usage."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, and_, func, select

from tidegate.core.ports.usage_sink import UsageGroup, UsageOverview, UsageQuery, UsageReport
from tidegate.ledger.database import Database
from tidegate.ledger.tables import (
    DAY_SECONDS,
    HOUR_SECONDS,
    SUMS,
    WAITS,
    refusal_days,
    refusals,
    usage,
    usage_days,
)
from tidegate.ledger.usage.retention import first_hour

__all__ = ["overview", "report"]

_COUNTS: Final = tuple(name for name in SUMS if name not in WAITS)
_Key = tuple[Any, ...]
"""The values of the grouping columns."""
_SPANS: Final = {"hour": HOUR_SECONDS, "day": DAY_SECONDS}
_HOURLY_SECONDS: Final = 2 * DAY_SECONDS
"""An overview of at most this time is by the hour, of a longer time by the day."""


def report(database: Database, query: UsageQuery, now: float | None = None) -> UsageReport:
    """The sums of each group, the most expensive first. In groups by time, the earliest first.

    Whole days are read from their own rows, which are 24 times fewer.

    Args:
        database: the database.
        query: what is asked.
        now: seconds since 1970-01-01 UTC; None: the present time. Before 400 days ago, there are only whole days.

    Raises:
        LedgerUnavailable: the database does not answer.
    """
    hours_since = first_hour(time.time() if now is None else now)
    with database.read() as connection:
        counts = _counts(connection, query, hours_since)
        causes = _causes(connection, query, hours_since)
    groups = [_group(query.by, key, values, causes[key]) for key, values in counts.items()]
    by_time = query.by[0] in _SPANS
    groups.sort(key=lambda each: tuple(each.group.values()) if by_time else (-each.cost_micro_usd, -each.calls))
    return UsageReport(tuple(groups), _total(groups))


def overview(database: Database, query: UsageQuery, now: float | None = None) -> UsageOverview:
    """The sums of a page: by the groups of the query, by time, and in total. With few queries, because it is long.

    Args:
        database: the database.
        query: what is asked.
        now: as for `report`.

    Raises:
        LedgerUnavailable: the database does not answer.
    """
    step = "hour" if query.until - query.since <= _HOURLY_SECONDS else "day"
    hours_since = first_hour(time.time() if now is None else now)
    with database.read() as connection:
        counts = _counts(connection, query, hours_since)
        times = _counts(connection, replace(query, by=(step,)), hours_since)
        causes = _causes(connection, replace(query, by=()), hours_since)
    groups = [_group(query.by, key, values, {}) for key, values in counts.items()]
    groups.sort(key=lambda each: (-each.cost_micro_usd, -each.calls))
    return UsageOverview(
        tuple(groups),
        tuple(_group((step,), key, times[key], {}) for key in sorted(times)),
        replace(_total(groups), refusals=causes[()]),
        _SPANS[step],
    )


def _counts(connection: Connection, query: UsageQuery, hours_since: int) -> dict[_Key, list[int]]:
    """The values of the columns `SUMS` by group."""
    counts: dict[_Key, list[int]] = {}
    for table, asked in _parts(usage, usage_days, query, hours_since):
        groups = _columns(table, query.by)
        sums = [func.sum(table.c[name]) for name in SUMS]
        for row in connection.execute(select(*groups, *sums).where(asked).group_by(*groups)):
            key, values = tuple(row[: len(groups)]), [int(value) for value in row[len(groups) :]]
            known = counts.get(key)
            counts[key] = values if known is None else [sum(both) for both in zip(known, values, strict=True)]
    return counts


def _causes(connection: Connection, query: UsageQuery, hours_since: int) -> dict[_Key, dict[str, int]]:
    """Refused calls by group and cause."""
    causes: dict[_Key, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for table, asked in _parts(refusals, refusal_days, query, hours_since):
        groups = [*_columns(table, query.by), table.c.cause]
        for *key, cause, calls in connection.execute(
            select(*groups, func.sum(table.c.calls)).where(asked).group_by(*groups)
        ):
            causes[tuple(key)][cause] += int(calls)
    return causes


def _parts(
    hours: Table, days: Table, query: UsageQuery, hours_since: int
) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """The rows that a query counts: whole days, and the hours before and after them.

    Each part is added up alone. Together they would take twice as long in SQLite.
    """
    first, last = _whole_days(query, hours_since)
    if first == last:
        yield hours, _within(hours, query, query.since - HOUR_SECONDS + 1, query.until)
        return
    yield days, _within(days, query, first, last)
    if first > query.since:
        yield hours, _within(hours, query, query.since - HOUR_SECONDS + 1, first)
    if last < query.until:
        yield hours, _within(hours, query, last, query.until)


def _whole_days(query: UsageQuery, hours_since: int) -> tuple[int, int]:
    """Beginning of the first and end of the last day that are read from the rows of days; the same: none is."""
    first = query.since // DAY_SECONDS * DAY_SECONDS
    if first < query.since and query.since >= hours_since:
        first += DAY_SECONDS
    last = query.until // DAY_SECONDS * DAY_SECONDS
    if last < query.until < hours_since:
        last += DAY_SECONDS
    if "hour" in query.by:
        last = min(last, hours_since)
    return first, max(first, last)


def _within(table: Table, query: UsageQuery, since: int, until: int) -> ColumnElement[bool]:
    """The rows that begin in a span of time, and that the query wants."""
    wanted = {"team": query.team, "caller": query.caller, "model": query.model}
    conditions = [table.c[name] == value for name, value in wanted.items() if value is not None]
    return and_(table.c.starts >= since, table.c.starts < until, *conditions)


def _columns(table: Table, by: tuple[str, ...]) -> list[ColumnElement[Any]]:
    return [_column(table, name) for name in by]


def _column(table: Table, name: str) -> ColumnElement[Any]:
    if name not in _SPANS:
        return table.c["priority" if name == "class" else name]
    if table in {usage_days, refusal_days}:
        return table.c.starts  # bare, because rows are in its order: they need not be sorted
    return table.c.starts - table.c.starts % _SPANS[name]


def _group(by: tuple[str, ...], key: _Key, values: list[int], causes: Mapping[str, int]) -> UsageGroup:
    counts = dict(zip(SUMS, values, strict=True))
    waits = tuple(counts.pop(name) for name in WAITS)
    return UsageGroup(dict(zip(by, key, strict=True)), **counts, waits=waits, refusals=dict(causes))


def _total(groups: list[UsageGroup]) -> UsageGroup:
    causes: dict[str, int] = defaultdict(int)
    for group in groups:
        for cause, calls in group.refusals.items():
            causes[cause] += calls
    counts = {name: sum(getattr(group, name) for group in groups) for name in _COUNTS}
    waits = tuple(sum(group.waits[index] for group in groups) for index in range(len(WAITS)))
    return UsageGroup({}, **counts, waits=waits, refusals=dict(causes))
