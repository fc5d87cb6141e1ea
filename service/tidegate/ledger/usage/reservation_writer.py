"""Writes what calls in progress have reserved of budgets."""

import secrets
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert

from tidegate.core.domain.budget import Spender, Spending
from tidegate.ledger.tables import reservations

__all__ = ["ReservationWriter", "named"]

_REFRESH_SECONDS: Final = 2.0
"""Written so often even if nothing changes, so that a process that does not write any more counts as dead."""
_DELETE: Final = delete(reservations).where(reservations.c.writer == bindparam("_writer"))
_INSERT: Final = insert(reservations)


class ReservationWriter:
    """Writes what the calls in progress of this process have reserved. After a crash, nobody else knows it.

    Args:
        now: the time by the clock of the database, in seconds since 1970-01-01 UTC.

    Attributes:
        writer: the random name of this process in the database.
        reserved: returns what calls in progress have reserved; None: nothing is written.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self.writer = secrets.token_hex(16)
        self._now = now
        self.reserved: Callable[[], Mapping[Spender, Spending]] | None = None
        self._written: Mapping[Spender, Spending] = {}
        self._written_at = 0.0

    def changed(self) -> Mapping[Spender, Spending] | None:
        """The reservations that have to be written now; None: nothing has changed."""
        now = {} if self.reserved is None else self.reserved()
        is_stale = bool(now) and abs(self._now() - self._written_at) >= _REFRESH_SECONDS
        return now if now != self._written or is_stale else None

    def write(self, connection: Connection, reserved: Mapping[Spender, Spending]) -> None:
        """Replaces what was written before."""
        connection.execute(_DELETE, {"_writer": self.writer})
        if reserved:
            at = self._now()
            rows = [
                {"writer": self.writer, "written_at": at, **named(spender), **amount._asdict()}
                for spender, amount in reserved.items()
            ]
            connection.execute(_INSERT, rows)

    def written(self, reserved: Mapping[Spender, Spending]) -> None:
        """The transaction of `write` has ended."""
        self._written, self._written_at = reserved, self._now()


def named(spender: Spender) -> dict[str, Any]:
    """The columns that name a spender."""
    return spender._asdict()
