"""The keys of the ledger in memory, which every request asks."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import select

from tidegate.core.domain.caller import Caller, Priority, Role
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal
from tidegate.core.ports.key_store import StoredKey
from tidegate.ledger.database import Database
from tidegate.ledger.tables import callers, keys

__all__ = ["KeyCache"]

_COLUMNS: Final = (
    *(keys.c.id, keys.c.sha256, keys.c.expires_at, keys.c.revoked_at),
    *(callers.c.name, callers.c.team, callers.c.role, callers.c.weight, callers.c.priority, callers.c.models),
)
_ALL_KEYS: Final = select(*_COLUMNS).join(callers).order_by(keys.c.id)


class _Entry(NamedTuple):
    stored: StoredKey
    expires_at: float


class KeyCache:
    """Implements `KeyStore`. A thread of the ledger refreshes it every half second.

    While the database does not answer, the keys that were read last stay valid until they expire.

    Args:
        database: has the keys.
        wall_seconds: the time, in seconds since 1970-01-01 UTC.

    Attributes:
        is_used: as `KeyStore.is_used`; an attribute, because each request reads it several times.
        on_callers: called with the callers that have a valid key, whenever the keys have changed.
    """

    def __init__(self, database: Database, wall_seconds: Callable[[], float] = time.time) -> None:
        self._database = database
        self._wall_seconds = wall_seconds
        self._refreshing = threading.Lock()
        self._rows: Sequence[Mapping[str, Any]] | None = None
        self._valid: dict[str, _Entry] = {}
        self.is_used: bool | None = None
        self.on_callers: Callable[[Sequence[Caller]], None] | None = None

    def find(self, key_sha256: str) -> StoredKey | None:
        """The valid key with this SHA-256.

        Raises:
            Refusal: LEDGER_UNAVAILABLE if the keys were never read.
        """
        entry = self._valid.get(key_sha256)
        if entry is not None and self._wall_seconds() < entry.expires_at:
            return entry.stored
        if self._rows is None:
            message = "the keys cannot be read from the ledger yet"
            raise Refusal(Cause.LEDGER_UNAVAILABLE, message, retry_after_seconds=5)
        return None

    def refresh(self) -> None:
        """Reads the keys.

        Raises:
            LedgerUnavailable: the database does not answer; the keys stay as they were.
        """
        with self._refreshing:  # an older state must not replace a newer one; requests do not take this lock
            with self._database.read() as connection:
                rows = connection.execute(_ALL_KEYS).mappings().all()
            self._replace([dict(row) for row in rows])

    def callers(self) -> Sequence[Caller]:
        """The callers with a valid key."""
        return list({entry.stored.caller.name: entry.stored.caller for entry in self._valid.values()}.values())

    def next_end(self) -> float | None:
        """The Unix time at which the next valid key expires; None if no key does."""
        now = self._wall_seconds()
        ends = [entry.expires_at for entry in self._valid.values() if now < entry.expires_at < float("inf")]
        return min(ends, default=None)

    def _replace(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if rows == self._rows:
            return
        self._valid = {
            row["sha256"]: _Entry(
                StoredKey(_caller(row), Role(row["role"])),
                float("inf") if row["expires_at"] is None else row["expires_at"],
            )
            for row in rows
            if row["revoked_at"] is None
        }
        self._rows = rows
        self.is_used = bool(rows) or bool(self.is_used)
        if self.on_callers is not None:
            self.on_callers(self.callers())


def _caller(row: Mapping[str, Any]) -> Caller:
    return Caller(
        row["name"],
        label=row["name"],
        weight=row["weight"],
        priority=Priority(row["priority"]),
        models=tuple(row["models"]),
        team=row["team"],
        key=row["id"],
        is_admin=row["role"] == Role.ADMIN,
    )
