"""The owners of objects: asked for, and recorded, in threads of their own."""

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import LedgerUnavailable, Refusal
from tidegate.core.ports.ownership import Owner
from tidegate.ledger.access.worker_threads import WorkerThreads
from tidegate.ledger.database import Database
from tidegate.ledger.tables import DAY_SECONDS, objects

__all__ = ["ObjectOwners"]

logger = logging.getLogger("tidegate.ledger")

_READ_SECONDS: Final = 2.0
"""A question that takes longer is refused: nobody sees an object whose owner is not known."""
_WRITE_SECONDS: Final = 1.0
"""A response that creates an object waits at most so long for the database."""
_THREADS: Final = 4
_MAX_KNOWN: Final = 50_000
"""Owners in memory, the last used ones. They take about 15 MB."""
_MAX_UNWRITTEN: Final = 20_000
_AT_ONCE: Final = 500
"""Ids in one statement. SQLite allows 32,766 parameters, and older versions 999."""

_EXPIRING: Final = "container_"
"""The prefix of ids of containers. Only these objects expire: each response that names one says when (Python
SDK 2.13.0, `types/container.py`). A batch is shown for ever, only its results expire."""
_KEEP_EXPIRING_SECONDS: Final = 400 * DAY_SECONDS
"""Much longer than the month that a container lives at most."""


class ObjectOwners:
    """Implements `Ownership`. An owner never changes, so that it may be answered from memory.

    An owner that cannot be written stays in memory and is written by the next `flush` that succeeds. If the process is
    killed before that, the object is one without an owner.

    Args:
        database: has the owners.
        wall_seconds: the time, in seconds since 1970-01-01 UTC.
    """

    def __init__(self, database: Database, wall_seconds: Callable[[], float] = time.time) -> None:
        self._database = database
        self._wall_seconds = wall_seconds
        self._known: OrderedDict[str, Owner] = OrderedDict()
        self._unwritten: dict[str, Owner] = {}
        self._lock = threading.Lock()  # of both; never held while the database is asked
        self._threads = WorkerThreads(_THREADS, "ownership")
        self._cleared_day = 0

    async def owners(self, ids: Collection[str]) -> Mapping[str, Owner]:
        """As `Ownership.owners`."""
        found = self._remembered(ids)
        unknown = [each for each in dict.fromkeys(ids) if each not in found]
        if unknown:
            try:
                found.update(await self._threads.run(partial(self._read, unknown), _READ_SECONDS))
            except (LedgerUnavailable, TimeoutError):
                message = "the ledger cannot say now to whom the object belongs"
                raise Refusal(Cause.LEDGER_UNAVAILABLE, message, retry_after_seconds=5) from None
        return found

    async def record(self, ids: Collection[str], owner: Owner) -> None:
        """As `Ownership.record`."""
        with self._lock:
            for each in ids:
                if each not in self._known and len(self._unwritten) < _MAX_UNWRITTEN:
                    self._unwritten.setdefault(each, owner)
            is_complete = all(each in self._known or each in self._unwritten for each in ids)
        if not is_complete:
            logger.error("too many owners of objects are unwritten; an object belongs to nobody")
        try:
            await self._threads.run(self.flush, _WRITE_SECONDS)
        except (LedgerUnavailable, TimeoutError):
            logger.warning("the owner of an object is kept in memory until the ledger can be written")

    async def forget(self, object_id: str) -> None:
        """As `Ownership.forget`."""
        with self._lock:
            self._known.pop(object_id, None)
            self._unwritten.pop(object_id, None)
        try:
            await self._threads.run(partial(self._delete, object_id), _WRITE_SECONDS)
        except (LedgerUnavailable, TimeoutError):
            logger.debug("the owner of a deleted object stays in the ledger")

    def flush(self) -> None:
        """Writes the owners that are unwritten.

        Raises:
            LedgerUnavailable: the database does not answer; they stay in memory.
        """
        with self._lock:
            unwritten = dict(self._unwritten)
        if not unwritten:
            return
        now = int(self._wall_seconds())
        rows = [
            {"id": each, "team": owner.team, "caller": owner.caller, "created_at": now}
            for each, owner in sorted(unwritten.items())  # in order, so that no two writers deadlock
        ]
        dialect = postgresql if self._database.is_postgresql else sqlite
        with self._database.begin() as connection:
            connection.execute(dialect.insert(objects).on_conflict_do_nothing(), rows)
        written = self._read(list(unwritten))  # another process may have recorded another owner before
        with self._lock:
            for each in unwritten:
                self._unwritten.pop(each, None)
        self._remember(written)

    def forget_expired(self) -> None:
        """Deletes the owners of containers over 400 days after they were created, at the first call of each day.

        Raises:
            LedgerUnavailable: the database does not answer; the next call tries again.
        """
        now = int(self._wall_seconds())
        if now // DAY_SECONDS == self._cleared_day:
            return
        old = objects.c.id.startswith(_EXPIRING, autoescape=True) & (
            objects.c.created_at < now - _KEEP_EXPIRING_SECONDS
        )
        with self._database.begin() as connection:
            connection.execute(delete(objects).where(old))
        self._cleared_day = now // DAY_SECONDS

    def close(self) -> None:
        """Ends the threads, without waiting for those that wait for the database."""
        self._threads.close()

    def _remembered(self, ids: Collection[str]) -> dict[str, Owner]:
        found = {}
        with self._lock:
            for each in ids:
                owner = self._known.get(each)
                if owner is not None:
                    self._known.move_to_end(each)
                else:
                    owner = self._unwritten.get(each)
                if owner is not None:
                    found[each] = owner
        return found

    def _read(self, ids: list[str]) -> dict[str, Owner]:
        """Reads owners from the database, and remembers them."""
        found: dict[str, Owner] = {}
        with self._database.read() as connection:
            for start in range(0, len(ids), _AT_ONCE):
                asked = objects.c.id.in_(ids[start : start + _AT_ONCE])
                for row in connection.execute(select(objects.c.id, objects.c.team, objects.c.caller).where(asked)):
                    found[row.id] = Owner(row.team, row.caller)
        self._remember(found)
        return found

    def _remember(self, owners: Mapping[str, Owner]) -> None:
        with self._lock:
            self._known.update(owners)
            while len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)

    def _delete(self, object_id: str) -> None:
        with self._database.begin() as connection:
            connection.execute(delete(objects).where(objects.c.id == object_id))
