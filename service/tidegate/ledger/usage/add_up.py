"""Adds rows to those with the same key."""

from functools import cache
from typing import Any

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["add_up"]


def add_up(
    connection: Connection,
    table: Table,
    rows: list[dict[str, Any]],
    summed: tuple[str, ...],
    replaced: tuple[str, ...] = (),
) -> None:
    """Inserts rows, or adds them to those with the same key. In the order of keys, so that no two writers deadlock.

    The columns `summed` are added up, and those in `replaced` have the later value.
    """
    if not rows:
        return
    keys = [column.name for column in table.primary_key]
    statement = _statement(table, connection.dialect.name, summed, replaced)
    connection.execute(statement, sorted(rows, key=lambda row: [str(row[key]) for key in keys]))


@cache  # to build it takes longer than to execute it
def _statement(table: Table, dialect: str, summed: tuple[str, ...], replaced: tuple[str, ...]) -> Any:
    insert = (postgresql if dialect == "postgresql" else sqlite).insert(table)
    added = {name: table.c[name] + insert.excluded[name] for name in summed}
    added |= {name: insert.excluded[name] for name in replaced}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=added)
