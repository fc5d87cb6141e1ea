"""The ledger as the service uses it: records usage, writes it, answers questions, and knows keys and pauses."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.events import Event
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.usage_sink import SessionUsage, SinkStatus, UsageOverview, UsageQuery, UsageReport
from tidegate.core.pricing.price_list import PriceList
from tidegate.ledger.access.key_administration import Keys
from tidegate.ledger.access.key_cache import KeyCache
from tidegate.ledger.access.object_owners import ObjectOwners
from tidegate.ledger.access.pauses import LedgerPauses, PauseCache
from tidegate.ledger.audit import Audit
from tidegate.ledger.background_work import BackgroundWork
from tidegate.ledger.database import Database
from tidegate.ledger.usage.recorder import UsageRecorder
from tidegate.ledger.usage.report import overview, report
from tidegate.ledger.usage.reservation_writer import ReservationWriter
from tidegate.ledger.usage.sessions import expensive_sessions
from tidegate.ledger.usage.spending import LedgerSpending
from tidegate.ledger.usage.writer import UsageWriter

__all__ = ["Ledger"]

_STOP_SECONDS: Final = 5.0
"""The time for which a stopping service waits for the last write."""
_LATE_NS: Final = 5 * NS_PER_SECOND
"""If calls need the ledger, they are refused once usage waits, or the database hangs, for so long."""
_NOT_READ: Final = "the ledger cannot be read; keys and pauses stay as they are"
_READ_AGAIN: Final = "the ledger is read again"


class Ledger:
    """A ledger in a database. Implements `UsageSink` and `UsageReports`.

    Args:
        database: the database.
        clock: the time.
        prices: the price list.
        required: whether calls are refused while usage cannot be written.
        new_key: returns a random key, and its SHA-256 as 64 hex digits.

    Attributes:
        key_store: finds keys.
        keys: creates and ends keys.
        pause_cache: knows what is paused.
        pauses: pauses and resumes.
        audit: records what admins change.
        ownership: knows the owners of objects.
        spending: knows what was spent, for budgets.
    """

    def __init__(
        self,
        database: Database,
        clock: Clock,
        prices: PriceList,
        *,
        required: bool,
        new_key: Callable[[], tuple[str, str]],
    ) -> None:
        self._database = database
        self._recorder = UsageRecorder(clock, prices)
        self.key_store = KeyCache(database, clock.wall_seconds)
        self.keys = Keys(database, new_key, self.key_store.refresh, clock.wall_seconds)
        self.pause_cache = PauseCache(database)
        self.pauses = LedgerPauses(database, on_change=self.pause_cache.refresh, wall_seconds=clock.wall_seconds)
        self.audit = Audit(database, clock.wall_seconds)
        self.ownership = ObjectOwners(database, clock.wall_seconds)
        recorder = self._recorder
        reservations = ReservationWriter(lambda: clock.wall_seconds() + recorder.ahead_seconds)
        self.spending = LedgerSpending(database, recorder, reservations, clock)
        self._required = required
        self._writer = UsageWriter(database, recorder, clock, on_turn=self._write_others, reservations=reservations)
        self._access = BackgroundWork("ledger-access", self._read_access, clock, _NOT_READ, _READ_AGAIN)

    @property
    def handlers(self) -> Iterable[tuple[type[Event], Callable[[Any], None]]]:
        """Event types and their handlers, for observers."""
        return self._recorder.handlers

    def prepare(self) -> None:
        """Migrates the database and reads keys and pauses, unless the database does not answer, which is logged."""
        if self._access.turn():
            self._writer.write()

    def start(self) -> None:
        """Writes usage and owners, and reads keys and pauses, from now on, in a thread each."""
        self._access.start()
        self._writer.start()

    def stop(self) -> None:
        """Writes what is left, for at most some seconds, and closes the database."""
        self._access.stop(0)
        self._writer.stop(_STOP_SECONDS)
        self.ownership.close()
        self._database.close()

    def status(self) -> SinkStatus:
        """The state of the ledger."""
        status = self._writer.status()
        return status._replace(up=status.up and self._access.up)

    def check(self) -> None:
        """Checks that usage can be recorded, if calls are refused otherwise.

        Raises:
            Refusal: LEDGER_UNAVAILABLE.
        """
        if self._required and (self._writer.is_behind(_LATE_NS) or self._access.is_stuck(_LATE_NS)):
            message = "the ledger cannot record usage now, and TIDEGATE_LEDGER is `required`"
            raise Refusal(Cause.LEDGER_UNAVAILABLE, message, retry_after_seconds=5)

    def report(self, query: UsageQuery) -> UsageReport:
        """The sums of each group. Waits for the database.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        return report(self._database, query)

    def overview(self, query: UsageQuery) -> UsageOverview:
        """The sums of a page. Waits for the database.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        return overview(self._database, query)

    def sessions(self, query: UsageQuery, limit: int) -> Sequence[SessionUsage]:
        """The most expensive sessions in the time of the query. Waits for the database.

        Raises:
            LedgerUnavailable: the database does not answer.
        """
        return expensive_sessions(self._database, query, limit)

    def _read_access(self) -> None:
        """Reads keys and pauses. A write of usage that waits for a lock must not delay that."""
        self.key_store.refresh()
        self.pause_cache.refresh()

    def _write_others(self) -> None:
        """Writes what is not usage."""
        self.audit.write()
        self.ownership.flush()
        self.ownership.forget_expired()
