"""The part of a follower that shows what its leader reports."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from tidegate.core.domain.budget import BudgetSnapshot, Spender
from tidegate.core.domain.caller import CallerLimits
from tidegate.core.domain.feedback import Feedback, RateLimited, Succeeded
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot, QueueSnapshot
from tidegate.core.ports.store import Change
from tidegate.stores.remote.messages import Report
from tidegate.stores.runtime_settings import SetAtRuntime

__all__ = ["ReportedPools"]

_MOST_LEARNED: Final = 1_000
"""So many answers are counted before they are reported."""


class ReportedPools:
    """The last report of a leader, and whoever watches the changes.

    Args:
        settings_of: returns the settings of a pool.
        pools: the snapshots before the first report.
        queues: the queues before the first report.
    """

    def __init__(
        self,
        settings_of: Callable[[str], PoolSettings],
        pools: tuple[PoolSnapshot, ...],
        queues: tuple[QueueSnapshot, ...],
    ) -> None:
        self._settings_of = settings_of
        self._pools = pools
        self._queues = queues
        self._budgets: tuple[BudgetSnapshot, ...] = ()
        self._report: Report | None = None
        self._learned: list[tuple[int, str, Feedback]] = []  # by steps of these numbers, which the report lacks
        self._listeners: dict[int, Callable[[Change], None]] = {}
        self._watches = 0

    @property
    def incarnation(self) -> str:
        """The incarnation of the log by the last report; empty if there is none."""
        log = None if self._report is None else self._report.log
        return "" if log is None else log.incarnation

    def take(self, report: Report) -> bool:
        """Takes in a report. False if a new leader repeats one that its predecessor had sent."""
        if not report.is_newer_than(self._report):
            return False
        self._report = report
        self._pools, self._queues, self._budgets = report.pools, report.queues, report.budgets
        self._learned = [each for each in self._learned if each[0] > report.number]
        return True

    def note_learned(self, number: int, pool: str, feedback: Feedback) -> None:
        """The step of this number lets a pool learn."""
        if isinstance(feedback, Succeeded | RateLimited):
            self._learned.append((number, pool, feedback))
            del self._learned[:-_MOST_LEARNED]

    async def snapshot(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """As `Store.snapshot`, by the leader's last report."""
        return self.snapshot_now(pool)

    def snapshot_now(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """As `snapshot`. Counts also the answers that the leader has not reported yet."""
        return tuple(self._counted(each) for each in self._pools if pool is None or each.pool == pool)

    def _counted(self, pool: PoolSnapshot) -> PoolSnapshot:
        kinds = Counter(type(feedback) for _, name, feedback in self._learned if name == pool.pool)
        if not kinds:
            return pool
        rate_limited, succeeded = pool.rate_limited + kinds[RateLimited], pool.succeeded + kinds[Succeeded]
        return replace(pool, rate_limited=rate_limited, succeeded=succeeded)

    async def queues(self) -> tuple[QueueSnapshot, ...]:
        """As `Store.queues`, by the leader's last report."""
        return self._queues

    @property
    def has_budgets(self) -> bool:
        """True: the leader may have some."""
        return True

    @property
    def has_low_budgets(self) -> bool:
        """As `Store.has_low_budgets`, by the leader's last report."""
        return any(each.is_low for each in self._budgets)

    def budgets_now(self, spender: Spender | None = None) -> tuple[BudgetSnapshot, ...]:
        """As `Store.budgets_now`, by the leader's last report."""
        return self._budgets if spender is None else tuple(each for each in self._budgets if each.is_of(spender))

    def pool_for(self, name: str) -> str:
        """`name`: the leader decides which pools are shared."""
        return name

    def advance(self, pool: str) -> None:
        """Does nothing: the leader has the timers."""

    def settings_now(self, pool: str) -> PoolSettings:
        """The settings of a pool, whether it exists yet or not."""
        return self._settings_of(pool)

    def set_at_runtime(self, pool: str) -> Mapping[str, SetAtRuntime]:  # noqa: ARG002 - as `ProcessStore.set_at_runtime`
        """Does nothing: the leader knows."""
        return {}

    def set_initial(self, pool: str, settings: PoolSettings) -> None:
        """Does nothing: the leader's configuration holds."""

    def reload(self, configured: Mapping[str, PoolSettings], otherwise: PoolSettings) -> None:
        """Does nothing: the leader's configuration holds."""

    def limit_callers(self, limits: Mapping[str, CallerLimits | None]) -> None:
        """Does nothing: the leader's configuration holds."""

    def watch(self, listener: Callable[[Change], None], *, leases: bool = True) -> Callable[[], None]:  # noqa: ARG002
        """As `Store.watch`. A change has the events that the leader delivers here."""
        key = self._watches
        self._watches += 1
        self._listeners[key] = listener

        def stop() -> None:
            self._listeners.pop(key, None)

        return stop

    def notify(self, change: Change) -> None:
        """Passes a change on to those who watch."""
        for listener in tuple(self._listeners.values()):
            listener(change)
