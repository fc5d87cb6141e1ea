"""A lease: reserved quota that ends exactly once."""

from collections.abc import Coroutine
from types import TracebackType
from typing import Self

from tidegate.core.domain.budget import Spending
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.feedback import Feedback
from tidegate.core.ports.store import Store

__all__ = ["Lease"]


class Lease:
    """Reserved quota. Ends exactly once: by `end`, or as abandoned at the end of its `async with` block.

    Attributes:
        id: unique among all processes.
        demand: the demand that was granted.
        waited_ns: how long admission took; 0 if it was immediate.
    """

    __slots__ = ("_store", "demand", "id", "waited_ns")

    def __init__(self, lease_id: str, demand: Demand, waited_ns: int, store: Store) -> None:
        self.id = lease_id
        self.demand = demand
        self.waited_ns = waited_ns
        self._store = store

    @property
    def pool(self) -> str:
        """Name of the pool."""
        return self.demand.pool

    def charge(self, known: Cost, spent: Spending | None = None) -> Coroutine[None, None, None]:
        """Charges what is known while the response comes: its input, unless 0, and its output so far.

        `spent` is the same for budgets.
        """
        return self._store.charge(self.demand.pool, self.id, known, spent)

    def end(
        self,
        outcome: Outcome,
        used: Cost | None = None,
        feedback: tuple[Feedback, ...] = (),
        spent: Spending | None = None,
    ) -> Coroutine[None, None, bool]:
        """Ends the lease. Returns False, without effect, if it has ended before.

        Args:
            outcome: how it ends.
            used: the cost to charge; None: the estimate, if this outcome charges anything.
            feedback: the feedback of the response, which the pool takes in first.
            spent: the same as `used`, for budgets.
        """
        return self._store.end(self.demand.pool, self.id, outcome, used, feedback, spent)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.end(Outcome.ABANDONED)
