"""The protocol between the engine and the place where shared state lives.

Durations cross it, never instants: the clocks of two replicas, and of a remote store, do not agree.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from tidegate.core.domain.demand import Demand, Granted, Outcome, Refused, Wait
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.events import Event
from tidegate.core.domain.feedback import Feedback
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import PoolSnapshot

__all__ = ["Change", "Store"]


class Change(Struct, frozen=True, gc=False):
    """What a step changed: leases that were granted, facts to report, and when the next waiter may fit.

    `refused` are waiters that will not be admitted after all, and why; they have left the queue.

    `next_in_ns` is None when nobody waits; otherwise somebody calls `advance` after that time, at the latest.
    """

    pool: str
    granted: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()
    next_in_ns: int | None = None
    refused: tuple[tuple[str, Refused], ...] = ()


class Store(Protocol):
    """Where pools live. Each method is one atomic step, and one round trip where the store is remote.

    An unknown pool comes to be at its first use. The asynchronous methods raise `Refusal(STORE_UNAVAILABLE)` when the
    store cannot be reached; the others never fail.
    """

    async def reserve(self, lease_id: str, demand: Demand) -> Granted | Wait | Refused:
        """Admits, queues or refuses a demand; `lease_id` is the caller's choice and unique.

        Who waits is granted or refused by a later `Change`.
        """
        ...

    async def withdraw(self, pool: str, lease_id: str) -> Refused | None:
        """Takes a waiter out of the queue, without side effect; None if it does not wait (any more).

        Otherwise why it had to wait so long, and after what time the same demand would probably be admitted from now.
        """
        ...

    async def charge(self, pool: str, lease_id: str, known: Cost) -> None:
        """Charges what is known while an answer comes: its input, unless 0, and its output so far where it is more."""
        ...

    async def end(
        self,
        pool: str,
        lease_id: str,
        outcome: Outcome,
        used: Cost | None = None,
        taught: tuple[Feedback, ...] = (),
    ) -> bool:
        """Ends a lease and corrects the buckets by `used`; False if it had ended before.

        `used` None with `SETTLED` or `ABANDONED` charges the estimate. What its answer has `taught` is taken in first,
        as by `learn`, in any case.
        """
        ...

    async def learn(self, pool: str, feedback: Feedback) -> None:
        """Takes in what an answer taught."""
        ...

    async def configure(self, pool: str, settings: PoolSettings) -> None:
        """Replaces a pool's settings: on waiters too, in their order; refills nothing; ends a spend cap."""
        ...

    async def snapshot(self, pool: str | None = None) -> tuple[PoolSnapshot, ...]:
        """The state of one pool (empty if unknown) or of all."""
        ...

    def pool_for(self, name: str) -> str:
        """The name of the pool that serves `name`: `name` itself, or a shared pool once there are too many.

        All other methods take the name that this returned, so that demands, leases and changes agree on it.
        """
        ...

    def take(self, lease_id: str, demand: Demand) -> bool:
        """Admits a demand, if nobody has to wait for that, not even for a round trip; under a lease, as `reserve`.

        False, without effect, otherwise: then it is to be reserved.
        """
        ...

    def release(self, pool: str, lease_id: str, unleased: Cost | None = None) -> None:
        """Withdraws a waiter, or ends its lease as released: for where nothing can be awaited.

        `unleased` is the cost of a waiter that gets no lease (`settle_at_once`): given back if it was granted.
        """
        ...

    def advance(self, pool: str) -> None:
        """Time has passed: admits the waiters that fit now. What came of it arrives through `watch`."""
        ...

    def watch(self, listener: Callable[[Change], None], *, leases: bool = True) -> Callable[[], None]:
        """Calls `listener` with every change, from any thread, outside of any lock; returns how to stop it.

        `leases`: whether it wants to hear how each lease ended. While nobody does, no such event is made.
        """
        ...
