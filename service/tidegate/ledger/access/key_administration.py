"""Creates, rotates, revokes and expires keys in the ledger."""

import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from tidegate.core.domain.caller import Role
from tidegate.core.domain.errors import ConfigurationError, LedgerUnavailable
from tidegate.core.ports.audit import AuditEntry, Values
from tidegate.core.ports.key_store import KeyInfo, NewCaller, NewKey
from tidegate.ledger.audit import write_entry
from tidegate.ledger.database import Database
from tidegate.ledger.tables import callers, keys

__all__ = ["Keys"]

_INFO: Final = (
    *(keys.c.id, keys.c.caller, callers.c.team, callers.c.role),
    *(keys.c.created_at, keys.c.created_by, keys.c.expires_at, keys.c.revoked_at),
)


class Keys:
    """Implements `KeyAdministration`.

    Args:
        database: the database.
        new_key: returns a random key, and its SHA-256 as 64 hex digits.
        on_change: called after each change.
        wall_seconds: the time, in seconds since 1970-01-01 UTC.
    """

    def __init__(
        self,
        database: Database,
        new_key: Callable[[], tuple[str, str]],
        on_change: Callable[[], None] = lambda: None,
        wall_seconds: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._new_key = new_key
        self._on_change = on_change
        self._wall_seconds = wall_seconds

    def create(self, caller: NewCaller, *, expires_at: int | None, by: str) -> NewKey:
        """Creates a caller and its first key. A caller whose keys have all ended may be created again.

        Raises:
            ConfigurationError: the caller has a valid key, or the key would have expired already.
            LedgerUnavailable: the database does not answer.
        """
        now = int(self._wall_seconds())
        _check_end("expires", expires_at, now)
        with self._database.begin_alone() as connection:
            if self._valid(connection, caller.name, now):
                allowed = "a caller without a valid key; `rotate` creates a second key"
                raise ConfigurationError("name", caller.name, allowed)
            values = {
                "team": caller.team,
                "role": caller.role.value,
                "weight": caller.weight,
                "priority": caller.priority.value,
                "models": list(caller.models),
            }
            if connection.execute(callers.update().where(callers.c.name == caller.name).values(values)).rowcount == 0:
                connection.execute(callers.insert().values(name=caller.name, **values))
            made = self._insert(connection, caller.name, expires_at, now, by)
            after = {"key": made.id, "expires_at": expires_at, **values}
            write_entry(connection, AuditEntry(now, by, "key.create", f"caller {caller.name}", {}, after))
        self._tell()
        return made

    def rotate(self, caller: str, *, grace_seconds: int, by: str) -> NewKey:
        """Creates a second key. The first one stays valid for `grace_seconds`, or until it expires if that is earlier.

        Raises:
            ConfigurationError: the caller has no valid key, or two.
            LedgerUnavailable: the database does not answer.
        """
        now = int(self._wall_seconds())
        with self._database.begin_alone() as connection:
            valid = self._valid(connection, caller, now)
            if len(valid) != 1:
                allowed = "a caller with one valid key; `create` makes the first one, `revoke` ends one of two"
                raise ConfigurationError("name", caller, allowed)
            (old,) = valid
            ends = min(now + grace_seconds, now + grace_seconds if old.expires_at is None else old.expires_at)
            connection.execute(keys.update().where(keys.c.id == old.id).values(expires_at=ends))
            made = self._insert(connection, caller, old.expires_at, now, by)
            before = {"key": old.id, "expires_at": old.expires_at}
            after = {"key": made.id, "expires_at": made.expires_at, "old_valid_until": ends}
            write_entry(connection, AuditEntry(now, by, "key.rotate", f"caller {caller}", before, after))
        self._tell()
        return NewKey(made.id, caller, made.key, made.expires_at, old.id, ends)

    def revoke(self, key_or_caller: str, *, by: str) -> Sequence[KeyInfo]:
        """Ends a key at once, or all keys of a caller. Returns those that ended.

        Raises:
            ConfigurationError: there is no such valid key and no such caller.
            LedgerUnavailable: the database does not answer.
        """
        now = int(self._wall_seconds())
        with self._database.begin_alone() as connection:
            named = (keys.c.id == key_or_caller) | (keys.c.caller == key_or_caller)
            found = [each for each in _infos(connection, _all().where(named)) if each.state(now) == "valid"]
            if not found:
                raise ConfigurationError("key", key_or_caller, "the id of a valid key, or the name of its caller")
            ids = [each.id for each in found]
            connection.execute(keys.update().where(keys.c.id.in_(ids)).values(revoked_at=now))
            ended = _infos(connection, _all().where(keys.c.id.in_(ids)))
            for before, after in zip(found, ended, strict=True):
                write_entry(connection, _change(now, by, "key.revoke", before, after))
        self._tell()
        return ended

    def expire(self, key: str, at: int, *, by: str) -> KeyInfo:
        """Lets a key end at a moment.

        Raises:
            ConfigurationError: there is no such valid key, or the moment is over.
            LedgerUnavailable: the database does not answer.
        """
        now = int(self._wall_seconds())
        _check_end("at", at, now)
        with self._database.begin_alone() as connection:
            found = [each for each in _infos(connection, _all().where(keys.c.id == key)) if each.state(now) == "valid"]
            if not found:
                raise ConfigurationError("key", key, "the id of a valid key")
            connection.execute(keys.update().where(keys.c.id == key).values(expires_at=at))
            (changed,) = _infos(connection, _all().where(keys.c.id == key))
            write_entry(connection, _change(now, by, "key.expire", found[0], changed))
        self._tell()
        return changed

    def all_keys(self) -> Sequence[KeyInfo]:
        """All keys, by caller and time of creation.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        with self._database.read() as connection:
            return _infos(connection, _all())

    def _tell(self) -> None:
        """Calls `on_change`. Its failure must not hide a key that is stored."""
        with contextlib.suppress(LedgerUnavailable):
            self._on_change()

    def _valid(self, connection: Connection, caller: str, now: int) -> list[KeyInfo]:
        found = _infos(connection, _all().where(keys.c.caller == caller))
        return [each for each in found if each.state(now) == "valid"]

    def _insert(self, connection: Connection, caller: str, expires_at: int | None, now: int, by: str) -> NewKey:
        key, sha256 = self._new_key()
        made = NewKey(f"key_{secrets.token_hex(6)}", caller, key, expires_at)
        connection.execute(
            keys.insert().values(
                id=made.id, caller=caller, sha256=sha256, created_at=now, created_by=by, expires_at=expires_at
            )
        )
        return made


def _all() -> Select[Any]:
    return select(*_INFO).join(callers).order_by(keys.c.caller, keys.c.created_at, keys.c.id)


def _infos(connection: Connection, query: Select[Any]) -> list[KeyInfo]:
    return [KeyInfo(**{**row, "role": Role(row["role"])}) for row in connection.execute(query).mappings()]


def _change(now: int, by: str, action: str, before: KeyInfo, after: KeyInfo) -> AuditEntry:
    return AuditEntry(now, by, action, f"key {after.id} of caller {after.caller}", _ends(before), _ends(after))


def _ends(key: KeyInfo) -> Values:
    return {"expires_at": key.expires_at, "revoked_at": key.revoked_at}


def _check_end(field: str, at: int | None, now: int) -> None:
    if at is not None and at <= now:
        raise ConfigurationError(field, at, "a moment in the future")
