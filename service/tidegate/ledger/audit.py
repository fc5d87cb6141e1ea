"""The record of what admins have changed, in the ledger."""

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, delete, select

from tidegate.core.ports.audit import AuditEntry, Values
from tidegate.ledger.database import Database
from tidegate.ledger.tables import DAY_SECONDS, audit

__all__ = ["Audit", "write_entry"]

_MAX_WAITING: Final = 1_000
"""Changes that wait for a database that does not answer. Beyond that the oldest are dropped; the log has them all."""
_KEEP_SECONDS: Final = 400 * DAY_SECONDS


class Audit:
    """Implements `AuditTrail`. Entries wait in memory until the ledger's thread writes them.

    Args:
        database: the database.
        wall_seconds: the time, in seconds since 1970-01-01 UTC.
    """

    def __init__(self, database: Database, wall_seconds: Callable[[], float] = time.time) -> None:
        self._database = database
        self._wall_seconds = wall_seconds
        self._lock = threading.Lock()
        self._waiting: deque[dict[str, Any]] = deque(maxlen=_MAX_WAITING)
        self._cleared_day = 0

    def record(self, who: str, action: str, target: str, before: Values, after: Values) -> None:
        """Records a change. It is written within a second, and again after a failure."""
        row = _row(AuditEntry(int(self._wall_seconds()), who, action, target, before, after))
        with self._lock:
            self._waiting.append(row)

    def write(self) -> None:
        """Writes what waits, and deletes what is over 400 days old, once a day.

        Raises:
            LedgerUnavailable: the database failed; the changes wait on.
        """
        now = int(self._wall_seconds())
        with self._lock:
            rows = list(self._waiting)
        if not rows and now // DAY_SECONDS == self._cleared_day:
            return
        with self._database.begin() as connection:
            # If the answer to an earlier commit was lost, some are written already.
            written = set(connection.scalars(select(audit.c.id).where(audit.c.id.in_([row["id"] for row in rows]))))
            new = [row for row in rows if row["id"] not in written]
            if new:
                connection.execute(audit.insert(), new)
            connection.execute(delete(audit).where(audit.c.at < now - _KEEP_SECONDS))
        self._cleared_day = now // DAY_SECONDS
        done = {row["id"] for row in rows}
        with self._lock:
            self._waiting = deque((row for row in self._waiting if row["id"] not in done), _MAX_WAITING)

    def entries(self, since: int, until: int, limit: int) -> Sequence[AuditEntry]:
        """The newest changes in a span of time, the newest first.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        fields = (audit.c.at, audit.c.who, audit.c.action, audit.c.target, audit.c.before, audit.c.after)
        within = (audit.c.at >= since) & (audit.c.at < until)
        query = select(*fields).where(within).order_by(audit.c.at.desc(), audit.c.id.desc()).limit(limit)
        with self._database.read() as connection:
            return [AuditEntry(**row) for row in connection.execute(query).mappings()]


def write_entry(connection: Connection, entry: AuditEntry) -> None:
    """Writes a change in the transaction that makes it."""
    connection.execute(audit.insert(), [_row(entry)])


def _row(entry: AuditEntry) -> dict[str, Any]:
    return {
        # Ids sort by creation, so that changes within one second stay in order.
        "id": f"{time.time_ns():016x}{secrets.token_hex(8)}",
        "at": entry.at,
        "who": entry.who,
        "action": entry.action,
        "target": entry.target,
        "before": dict(entry.before),
        "after": dict(entry.after),
    }
