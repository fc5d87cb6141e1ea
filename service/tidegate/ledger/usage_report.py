"""Answers questions about usage."""

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, Subquery, Table, and_, func, select, true, union_all

from tidegate.core.ports.usage_sink import UsageGroup, UsageOverview, UsageQuery, UsageReport
from tidegate.ledger.database import Database
from tidegate.ledger.retention import first_hour
from tidegate.ledger.tables import (
    DAY_SECONDS,
    DIMENSIONS,
    HOUR_SECONDS,
    SUMS,
    WAITS,
    refusal_days,
    refusals,
    usage,
    usage_days,
)

__all__ = ["overview", "report"]

_COUNTS: Final = tuple(name for name in SUMS if name not in WAITS)
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
    days = _whole_days(query, time.time() if now is None else now)
    with database.read() as connection:
        rows = _sums(connection, query, days)
        causes = _causes(connection, query, days)
    counted = [_group(query.by, row, causes[tuple(row[name] for name in query.by)]) for row in rows]
    by_time = query.by[0] in _SPANS
    counted.sort(key=lambda each: tuple(each.group.values()) if by_time else (-each.cost_micro_usd, -each.calls))
    return UsageReport(tuple(counted), _total(counted))


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
    by_time, in_total = replace(query, by=(step,)), replace(query, by=())
    seconds = time.time() if now is None else now
    with database.read() as connection:
        rows = _sums(connection, query, _whole_days(query, seconds))
        times = _sums(connection, by_time, _whole_days(by_time, seconds))
        causes = _causes(connection, in_total, _whole_days(in_total, seconds))
    groups = sorted((_group(query.by, row, {}) for row in rows), key=lambda each: -each.cost_micro_usd)
    return UsageOverview(
        tuple(groups),
        tuple(sorted((_group((step,), row, {}) for row in times), key=lambda each: each.group[step])),
        replace(_total(groups), refusals=causes[()]),
        _SPANS[step],
    )


def _sums(connection: Connection, query: UsageQuery, days: tuple[int, int]) -> Sequence[RowMapping]:
    rows = _rows(usage, usage_days, query, days, SUMS)
    groups = _columns(rows, query.by)
    sums = [func.sum(rows.c[name]).label(name) for name in SUMS]
    return connection.execute(select(*groups, *sums).group_by(*groups)).mappings().all()


def _causes(connection: Connection, query: UsageQuery, days: tuple[int, int]) -> dict[tuple[Any, ...], dict[str, int]]:
    """Refused calls by group and cause."""
    rows = _rows(refusals, refusal_days, query, days, ("cause", "calls"))
    groups = [*_columns(rows, query.by), rows.c.cause]
    causes: dict[tuple[Any, ...], dict[str, int]] = defaultdict(dict)
    for *group, cause, calls in connection.execute(select(*groups, func.sum(rows.c.calls)).group_by(*groups)):
        causes[tuple(group)][cause] = int(calls)
    return causes


def _whole_days(query: UsageQuery, now: float) -> tuple[int, int]:
    """Beginning of the first and end of the last day that are read from the rows of days."""
    hours_since = first_hour(now)
    first = query.since // DAY_SECONDS * DAY_SECONDS
    if first < query.since and query.since >= hours_since:
        first += DAY_SECONDS
    last = query.until // DAY_SECONDS * DAY_SECONDS
    if last < query.until < hours_since:
        last += DAY_SECONDS
    if "hour" in query.by:
        last = min(last, hours_since)
    return first, max(first, last)


def _rows(
    hours: Table, days: Table, query: UsageQuery, whole_days: tuple[int, int], counted: tuple[str, ...]
) -> Subquery:
    """The rows that a query counts, of two tables: whole days, and the hours before and after them."""
    first, last = whole_days
    if first == last:
        last = first = query.until
    before = (hours.c.starts > query.since - HOUR_SECONDS) & (hours.c.starts < min(first, query.until))
    after = (hours.c.starts >= max(last, query.since)) & (hours.c.starts < query.until)
    parts = [
        select(*(table.c[name] for name in ("starts", *DIMENSIONS, *counted))).where(within & _asked(table, query))
        for table, within in (
            (days, (days.c.starts >= first) & (days.c.starts < last)),
            (hours, before),
            (hours, after),
        )
    ]
    return union_all(*parts).subquery()


def _asked(table: Table, query: UsageQuery) -> ColumnElement[bool]:
    wanted = {"team": query.team, "caller": query.caller, "model": query.model}
    conditions = [table.c[name] == value for name, value in wanted.items() if value is not None]
    return and_(true(), *conditions)


def _columns(rows: Subquery, by: tuple[str, ...]) -> list[ColumnElement[Any]]:
    return [
        (rows.c.starts - rows.c.starts % _SPANS[name]).label(name)
        if name in _SPANS
        else rows.c.priority.label("class")
        if name == "class"
        else rows.c[name].label(name)
        for name in by
    ]


def _group(by: tuple[str, ...], row: RowMapping, causes: dict[str, int]) -> UsageGroup:
    counts = {name: int(row[name]) for name in _COUNTS}
    return UsageGroup(
        {name: row[name] for name in by}, **counts, waits=tuple(int(row[name]) for name in WAITS), refusals=causes
    )


def _total(groups: list[UsageGroup]) -> UsageGroup:
    causes: dict[str, int] = defaultdict(int)
    for group in groups:
        for cause, calls in group.refusals.items():
            causes[cause] += calls
    counts = {name: sum(getattr(group, name) for group in groups) for name in _COUNTS}
    waits = tuple(sum(group.waits[index] for group in groups) for index in range(len(WAITS)))
    return UsageGroup({}, **counts, waits=waits, refusals=dict(causes))
