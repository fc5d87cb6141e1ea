"""Pauses in the ledger: what admins do with them, and what a process knows of them."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Column, Connection, RowMapping, select

from tidegate.core.domain.errors import ConfigurationError, LedgerUnavailable
from tidegate.core.domain.pause import NO_PAUSES, Pause, PauseKind, Pauses
from tidegate.core.ports.audit import AuditEntry, Values
from tidegate.ledger.audit import write_entry
from tidegate.ledger.database import Database
from tidegate.ledger.tables import callers, keys, pauses, usage

__all__ = ["LedgerPauses", "PauseCache"]

logger = logging.getLogger("tidegate.ledger")

_NAMES: Final[dict[PauseKind, tuple[Column[str], ...]]] = {
    PauseKind.CALLER: (callers.c.name, usage.c.caller),
    PauseKind.KEY: (keys.c.id,),
    PauseKind.TEAM: (callers.c.team, usage.c.team),
    PauseKind.POOL: (usage.c.pool,),
}
"""The columns that have the known names."""
_ALLOWED: Final[dict[PauseKind, str]] = {
    PauseKind.CALLER: "the name of a caller with a key or with usage",
    PauseKind.KEY: "the id of a key of the ledger, as `tidegate keys list` prints it",
    PauseKind.TEAM: "the name of a team with a caller or with usage",
    PauseKind.POOL: "the name of a pool with usage, as the status shows it",
    PauseKind.SESSION: "the id that a client sends; an empty one would stop all calls without a session",
}
_MAX_REASON: Final = 500
_NEWEST_FIRST: Final = select(pauses).order_by(pauses.c.paused_at.desc(), pauses.c.kind, pauses.c.name)


class LedgerPauses:
    """Implements `PauseAdministration`.

    Args:
        database: the database.
        is_known: whether a name is known from elsewhere, such as the configuration.
        on_change: called after each change.
        wall_seconds: the time, in seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        database: Database,
        is_known: Callable[[PauseKind, str], bool] = lambda _kind, _name: False,
        on_change: Callable[[], None] = lambda: None,
        wall_seconds: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self.is_known = is_known
        self._on_change = on_change
        self._wall_seconds = wall_seconds

    def pause(self, kind: PauseKind, name: str, *, reason: str, by: str) -> Pause:
        """Refuses all calls of something from now on. A second pause replaces reason, author and time of the first.

        Raises:
            ConfigurationError: the name is not known, or the reason is too long or has control characters. A name with
                a typing error would stop nobody.
            LedgerUnavailable: the database does not answer.
        """
        if len(reason) > _MAX_REASON or not reason.isprintable():  # it is printed in logs, and in terminals
            raise ConfigurationError("reason", reason, f"one line of at most {_MAX_REASON} printable characters")
        new = Pause(kind, name, by, int(self._wall_seconds()), reason)
        with self._database.begin_alone() as connection:
            if not (self.is_known(kind, name) or _is_known(connection, kind, name)):
                raise ConfigurationError("name", name, _ALLOWED[kind])
            old = _take(connection, kind, name)
            connection.execute(
                pauses.insert().values(kind=kind.value, name=name, reason=reason, paused_by=by, paused_at=new.at)
            )
            entry = AuditEntry(new.at, by, "pause", f"{kind} {name}", _values(old), _values(new))
            write_entry(connection, entry)
        self._tell()
        return new

    def resume(self, kind: PauseKind, name: str, *, by: str) -> Pause:
        """Ends a pause, and returns it.

        Raises:
            ConfigurationError: it is not paused.
            LedgerUnavailable: the database does not answer.
        """
        with self._database.begin_alone() as connection:
            old = _take(connection, kind, name)
            if old is None:
                raise ConfigurationError("name", name, f"a paused {kind}; `tidegate paused` lists them")
            write_entry(
                connection, AuditEntry(int(self._wall_seconds()), by, "resume", f"{kind} {name}", _values(old), {})
            )
        self._tell()
        return old

    def all_pauses(self) -> Sequence[Pause]:
        """All pauses, the newest first.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        with self._database.read() as connection:
            return _read(connection)

    def _tell(self) -> None:
        """Calls `on_change`. Its failure does not undo the change, which a thread of the ledger reads soon."""
        with contextlib.suppress(LedgerUnavailable):
            self._on_change()


class PauseCache:
    """The pauses in memory. A thread of the ledger refreshes them every half second.

    While the database does not answer, the pauses that were read last stay in effect. A process that has never read
    them pauses nothing.

    Args:
        database: has the pauses.

    Attributes:
        on_pauses: called with the pauses whenever they have changed, from any thread.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._refreshing = threading.Lock()
        self._known: Sequence[Pause] = ()
        self.current = NO_PAUSES
        self.on_pauses: Callable[[Pauses], None] | None = None

    def refresh(self) -> None:
        """Reads the pauses.

        Raises:
            LedgerUnavailable: the database does not answer; the pauses stay as they were.
        """
        with self._refreshing:  # an older state must not replace a newer one
            with self._database.read() as connection:
                found = _read(connection)
            if found == self._known:
                return
            _log(self._known, found)
            self._known, self.current = found, Pauses(found)
            if self.on_pauses is not None:
                self.on_pauses(self.current)


def _log(before: Sequence[Pause], after: Sequence[Pause]) -> None:
    for each in after:
        if each not in before:
            logger.warning("paused %s %s, by %s: %s", each.kind, each.name, each.by, each.reason or "no reason given")
    names = {(each.kind, each.name) for each in after}
    for each in before:
        if (each.kind, each.name) not in names:
            logger.warning("resumed %s %s", each.kind, each.name)


def _is_known(connection: Connection, kind: PauseKind, name: str) -> bool:
    if kind is PauseKind.SESSION:  # only its client knows when it begins
        return name != ""
    return any(connection.scalar(select(column).where(column == name).limit(1)) is not None for column in _NAMES[kind])


def _take(connection: Connection, kind: PauseKind, name: str) -> Pause | None:
    """Removes and returns a pause."""
    this = (pauses.c.kind == kind.value) & (pauses.c.name == name)
    found = connection.execute(select(pauses).where(this)).mappings().first()
    connection.execute(pauses.delete().where(this))
    return None if found is None else _pause(found)


def _read(connection: Connection) -> list[Pause]:
    return [_pause(row) for row in connection.execute(_NEWEST_FIRST).mappings()]


def _pause(row: RowMapping | dict[str, Any]) -> Pause:
    return Pause(PauseKind(row["kind"]), row["name"], row["paused_by"], row["paused_at"], row["reason"])


def _values(pause: Pause | None) -> Values:
    return {} if pause is None else {"by": pause.by, "at": pause.at, "reason": pause.reason}
