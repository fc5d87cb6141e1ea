"""The protocol between the engine and the store that holds the pools.

It carries durations and no instants, because the clocks of two replicas, and of a remote store, differ.
"""

from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from tidegate.core.domain.budget import BudgetSnapshot, BudgetWindow, Spender, Spending
from tidegate.core.domain.demand import Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.events import Event
from tidegate.core.domain.feedback import Feedback
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot, QueueSnapshot, WaitLeft

__all__ = ["Change", "Store"]


class Change(Struct, frozen=True, gc=False, array_like=True):
    """The effects of a step.

    Attributes:
        pool: name of the pool.
        granted: lease ids of waiters that were granted.
        events: facts to report.
        next_in_ns: how long until the next waiter may fit: `Store.advance` has to be called after that time at the
            latest. None when nobody waits.
        refused: lease ids of waiters that will not be admitted after all, and why. They have left the queue.
    """

    pool: str
    granted: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    next_in_ns: int | None = None
    refused: tuple[tuple[str, Refused], ...] = ()


class Store(Protocol):
    """Holds the pools. Each method is one atomic step, and one round trip where the store is remote.

    A pool is created at its first use. The asynchronous methods raise `Refusal(STORE_UNAVAILABLE)` when the store
    cannot be reached. The synchronous ones never fail.
    """

    async def reserve(self, lease_id: str, demand: Demand) -> Granted | Wait | Refused:
        """Admits, queues or refuses a demand. `lease_id` is the caller's choice and unique.

        A queued demand is granted or refused by a later `Change`.
        """
        ...

    async def withdraw(self, pool: str, lease_id: str) -> Refused | None:
        """Takes a waiter out of the queue, without side effect; None if it does not wait (any more).

        Otherwise returns why it had to wait so long, and how long from now the same demand would probably wait.
        """
        ...

    async def charge(self, pool: str, lease_id: str, known: Cost, spent: Spending | None = None) -> None:
        """Charges what is known while an answer comes: its input, unless 0, and its output so far where it is more.

        `spent` is the same for budgets.
        """
        ...

    async def end(
        self,
        pool: str,
        lease_id: str,
        outcome: Outcome,
        used: Cost | None = None,
        feedback: tuple[Feedback, ...] = (),
        spent: Spending | None = None,
    ) -> bool:
        """Ends a lease and corrects the buckets by `used`; False if it had ended before.

        `used` None with `SETTLED` or `ABANDONED` charges the estimate. `spent` is the same for budgets. The `feedback`
        of its answer is taken in first, as by `learn`, in any case.
        """
        ...

    async def learn(self, pool: str, feedback: Feedback) -> None:
        """Takes in the feedback of an answer."""
        ...

    async def configure(self, pool: str, settings: PoolSettings, by: str | None = None) -> None:
        """Replaces a pool's settings, also for waiters. Keeps levels and order. Clears a spend cap.

        `by` is recorded with each limit that changes: who sets it.
        """
        ...

    async def snapshot(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """The state of one pool (empty if unknown) or of all."""
        ...

    async def wait_left(self, pool: str, lease_id: str) -> WaitLeft | None:
        """The approximate remaining wait of a request; None if it does not wait (any more)."""
        ...

    async def queues(self) -> tuple[QueueSnapshot, ...]:
        """The waiting requests of each pool that has any."""
        ...

    def pool_for(self, name: str) -> str:
        """The name of the pool that serves `name`: `name` itself, or a shared pool once there are too many.

        All other methods take the name that this returned, so that demands, leases and changes agree on it.
        """
        ...

    def try_admit(self, lease_id: str, demand: Demand) -> bool:
        """Admits a demand as `reserve` does, if nothing has to be waited for; False, without effect, otherwise."""
        ...

    def release(self, pool: str, lease_id: str) -> None:
        """Withdraws a waiter, or ends its lease as released, without waiting for the store."""
        ...

    def advance(self, pool: str) -> None:
        """Admits the waiters that fit by now. The result arrives through `watch`."""
        ...

    def set_budgets(self, windows: tuple[BudgetWindow, ...]) -> None:
        """Replaces all budgets. A budget keeps what was spent, if one of the same name counted the same before."""
        ...

    def turn_budgets(self, periods: Mapping[str, tuple[int, int | None]]) -> None:
        """Begins new periods. By `BudgetRule.calendar`: when a period began, and when it ends, in Unix seconds."""
        ...

    def spend(self, spender: Spender, spending: Spending) -> None:
        """Counts what was spent without a lease."""
        ...

    @property
    def has_budgets(self) -> bool:
        """Whether there are any budgets. Then each demand needs its `spending`."""
        ...

    @property
    def has_low_budgets(self) -> bool:
        """Whether a fifth or less may be left of some budget. Each response asks."""
        ...

    def budgets_now(self, spender: Spender | None = None) -> tuple[BudgetSnapshot, ...]:
        """The state of all budgets, or of those of one spender. Of a remote store, by its last report."""
        ...

    def watch(self, listener: Callable[[Change], None], *, leases: bool = True) -> Callable[[], None]:
        """Calls `listener` with every change, from any thread, outside of any lock. Returns a function that stops it.

        `leases`: whether it wants an event for the end of each lease. While no listener does, none is made.
        """
        ...
