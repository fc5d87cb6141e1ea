"""Answers questions about usage."""

from collections import defaultdict
from typing import Any, Final

from sqlalchemy import ColumnElement, RowMapping, Table, func, select

from tidegate.core.ports.usage_sink import UsageGroup, UsageQuery, UsageReport
from tidegate.ledger.database import Database
from tidegate.ledger.retention import DAY_SECONDS
from tidegate.ledger.tables import HOUR_SECONDS, SUMS, WAITS, refusals, usage

__all__ = ["report"]

_COUNTS: Final = tuple(name for name in SUMS if name not in WAITS)


def report(database: Database, query: UsageQuery) -> UsageReport:
    """The sums of each group, the most expensive first. In groups by time, the earliest first.

    Raises:
        LedgerUnavailable: the database does not answer.
    """
    with database.read() as connection:
        groups = _columns(usage, query.by)
        sums = [func.sum(usage.c[name]).label(name) for name in SUMS]
        rows = connection.execute(select(*groups, *sums).where(_asked(usage, query)).group_by(*groups)).mappings().all()
        causes: dict[tuple[Any, ...], dict[str, int]] = defaultdict(dict)
        groups = [*_columns(refusals, query.by), refusals.c.cause]
        found = select(*groups, func.sum(refusals.c.calls)).where(_asked(refusals, query)).group_by(*groups)
        for *group, cause, calls in connection.execute(found):
            causes[tuple(group)][cause] = int(calls)
    counted = [_group(query.by, row, causes[tuple(row[name] for name in query.by)]) for row in rows]
    by_time = query.by[0] in {"hour", "day"}
    counted.sort(key=lambda each: tuple(each.group.values()) if by_time else (-each.cost_micro_usd, -each.calls))
    return UsageReport(tuple(counted), _total(counted))


def _columns(table: Table, by: tuple[str, ...]) -> list[ColumnElement[Any]]:
    spans = {"hour": HOUR_SECONDS, "day": DAY_SECONDS}
    return [
        (table.c.starts - table.c.starts % spans[name]).label(name)
        if name in spans
        else table.c.priority.label("class")
        if name == "class"
        else table.c[name].label(name)
        for name in by
    ]


def _asked(table: Table, query: UsageQuery) -> ColumnElement[bool]:
    within = (table.c.starts < query.until) & (table.c.starts + table.c.seconds > query.since)
    # Also bounded without arithmetic, for the index: no span is longer than a day.
    within &= table.c.starts > query.since - DAY_SECONDS
    return within if query.caller is None else within & (table.c.caller == query.caller)


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
