"""The parts of a pool, which share its quota, queue and failures: how they are made, dumped, restored and shown."""

from collections.abc import Callable
from typing import Self

from tidegate.core.accounts.accounts import Account, Accounts
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import DimensionSnapshot, PoolSnapshot
from tidegate.core.failures.failure_tracker import FailureTracker
from tidegate.core.failures.retry_gate import RetryGate
from tidegate.core.forecast.wait_forecast import WaitForecast
from tidegate.core.limits.recent_use import RecentUse
from tidegate.core.pool.lease_book import LeaseBook
from tidegate.core.pool.own_limits import OwnLimits
from tidegate.core.pool.pool_state import POOL_STATE_VERSION, PoolState
from tidegate.core.pool.pool_work import PoolWork, dump_leases, restore_leases
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.queue_state import dump_queue, restore_queue
from tidegate.core.quota.quota import Quota

__all__ = ["PoolParts"]


class PoolParts:
    """The mechanisms of one pool. They do not know `Pool`, which decides who is admitted.

    Attributes:
        rate_limited, succeeded: answers since the pool began.
    """

    __slots__ = (
        "book",
        "failures",
        "forecast",
        "name",
        "own_limits",
        "queue",
        "quota",
        "rate_limited",
        "retries",
        "succeeded",
        "use",
    )

    def __init__(self, name: str, settings: PoolSettings, now_ns: int, accounts: Accounts) -> None:
        self.name = name
        self.quota = Quota(name, settings, now_ns)
        self.failures = FailureTracker(name, self.quota.events, now_ns)
        self.retries = RetryGate(self.failures, now_ns)
        self.queue = FairQueue(lambda: self.quota.limits.ns_per_unit, self.retries.wait_ns)
        self.forecast = WaitForecast(self.quota, self.queue, self.failures)
        self.use = RecentUse(self.quota.limits.per_minute, now_ns)
        self._connect(accounts)
        self.rate_limited = 0
        self.succeeded = 0

    def _connect(self, accounts: Accounts) -> None:
        self.own_limits = OwnLimits(self.name, accounts, self.queue)
        self.book = LeaseBook(self.name, self.quota, self.failures, self.use, self.forecast.outputs, accounts.budgets)

    def dump(self, now_ns: int) -> PoolState:
        """As `Pool.dump`."""
        return PoolState(
            version=POOL_STATE_VERSION,
            pool=self.name,
            quota=self.quota.dump(now_ns),
            failures=self.failures.dump(now_ns),
            retries=self.retries.dump(now_ns),
            class_shares=self.queue.dump(now_ns),
            forecast=self.forecast.dump(now_ns),
            recent_use=self.use.dump(now_ns),
            granted=self.book.granted,
            rate_limited=self.rate_limited,
            succeeded=self.succeeded,
        )

    @classmethod
    def restore(cls, state: PoolState, now_ns: int, settings: PoolSettings, accounts: Accounts) -> Self:
        """As `Pool.restore`."""
        parts = cls(state.pool, settings, now_ns, accounts)
        parts.quota = quota = Quota.restore(state.quota, now_ns, state.pool, settings)
        parts.failures = FailureTracker.restore(state.failures, now_ns, state.pool, quota.events)
        parts.retries = RetryGate.restore(state.retries, now_ns, parts.failures)
        parts.queue = FairQueue.restore(
            state.class_shares, now_ns, lambda: quota.limits.ns_per_unit, parts.retries.wait_ns
        )
        parts.forecast = WaitForecast.restore(state.forecast, now_ns, quota, parts.queue, parts.failures)
        parts.use = RecentUse.restore(state.recent_use, now_ns, quota.limits.per_minute)
        parts._connect(accounts)
        parts.book.granted = state.granted
        parts.rate_limited = state.rate_limited
        parts.succeeded = state.succeeded
        return parts

    def dump_work(self, now_ns: int) -> PoolWork:
        """As `Pool.dump_work`."""
        until_ns = self.own_limits.waits.until_ns
        return PoolWork(
            pool=self.name,
            leases=dump_leases(self.book, now_ns),
            checked_in_ns=max(0, self.book.leases.due_ns - now_ns),
            queue=dump_queue(self.queue, now_ns),
            skipped_for_ns=None if until_ns is None else max(0, until_ns - now_ns),
            quota=self.quota.dump_work(now_ns),
        )

    def restore_work(self, work: PoolWork, now_ns: int, account_of: Callable[[str], Account]) -> None:
        """As `Pool.restore_work`."""
        restore_leases(self.book, work.leases, self.quota, now_ns, account_of)
        self.book.leases.due_ns = now_ns + work.checked_in_ns
        restore_queue(self.queue, work.queue, now_ns, account_of)
        self.own_limits.waits.until_ns = None if work.skipped_for_ns is None else now_ns + work.skipped_for_ns
        self.quota.restore_work(work.quota, now_ns)

    def snapshot(self, now_ns: int) -> PoolSnapshot:
        """As `Pool.snapshot`."""
        quota, queue, failures, book = self.quota, self.queue, self.failures, self.book
        dimensions, oldest_ns = quota.limits.snapshot(now_ns), book.leases.oldest_ns()
        return PoolSnapshot(
            pool=self.name,
            dimensions=tuple(map(DimensionSnapshot.with_shares, dimensions, self.use.shares(now_ns))),
            adaptive_factor=quota.factor,
            frozen_seconds=quota.frozen_ns(now_ns) / NS_PER_SECOND,
            probing=quota.is_probing or failures.is_outage,
            waiting=len(queue),
            classes=queue.snapshot(now_ns),
            in_flight=len(book.leases),
            oldest_lease_seconds=None if oldest_ns is None else (now_ns - oldest_ns) / NS_PER_SECOND,
            granted=book.granted,
            rate_limited=self.rate_limited,
            succeeded=self.succeeded,
            open_circuits={str(cause): ns / NS_PER_SECOND for cause, ns in failures.open_circuits(now_ns)},
            unanswered=failures.unanswered,
            concurrency_limit=failures.concurrency_limit(now_ns),
            retries_waiting=len(queue.failed),
            retries_left=failures.budget.left(now_ns),
        )
