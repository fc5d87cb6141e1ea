"""The requests that wait in a process, and its open leases, as a follower knows them."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from msgspec import Struct, structs

from tidegate.core.domain.dimension import Cost
from tidegate.stores.steps import Held, Reprice, Reserve

__all__ = ["HeldWork"]

_REPRICED: Final = 16
"""Requests per pool. Those behind them are estimated anew when they come to the front."""


class _Waiting(Struct):
    """A request that waits, or that the leader has not answered yet.

    `number` is that of its step, and `price` that of its demand. A request that was handed over has no step.
    """

    pool: str
    number: int = 0
    step: Reserve | None = None
    price: Callable[[int], Cost] | None = None


class HeldWork:
    """All that a leader would have to know to continue with this process.

    Args:
        waiting: the pool of each request that was handed over, by its lease id.
        leases: the ids of the open leases that were handed over.
    """

    def __init__(self, waiting: Mapping[str, str], leases: Iterable[str]) -> None:
        self._waiting = {lease_id: _Waiting(pool) for lease_id, pool in waiting.items()}
        self._leases: dict[str, Held | None] = dict.fromkeys(leases)

    def waits(self, lease_id: str) -> bool:
        """Whether a request waits, or has not been answered yet."""
        return lease_id in self._waiting

    def ask(self, number: int, step: Reserve, price: Callable[[int], Cost] | None) -> None:
        """A request was made by the step of this number. `price` is that of its demand."""
        self._waiting[step.lease_id] = _Waiting(step.demand.pool, number, step, price)

    def reprice(self, now_ns: int) -> list[Reprice]:
        """Estimates the costs of the first requests of each pool anew. Returns those that have changed."""
        seen, changed = Counter[str](), list[Reprice]()
        for waiting in self._waiting.values():
            step, pool = waiting.step, waiting.pool
            if waiting.price is None or step is None:
                continue
            seen[pool] += 1
            if seen[pool] > _REPRICED:
                continue
            cost = waiting.price(now_ns)
            if cost != step.demand.cost:
                waiting.step = Reserve(step.lease_id, structs.replace(step.demand, cost=cost))
                changed.append(Reprice(pool, step.lease_id, cost))
        return changed

    def leave_queue(self, lease_id: str, *, is_granted: bool) -> str | None:
        """A request waits no longer. Returns its pool; None if it did not wait."""
        waiting = self._waiting.pop(lease_id, None)
        if waiting is None:
            return None
        if is_granted:
            step = waiting.step
            self._leases[lease_id] = None if step is None else Held(lease_id, step.demand)
        return waiting.pool

    def leave_all(self) -> dict[str, list[str]]:
        """No request waits any longer. Returns their ids by pool."""
        by_pool: dict[str, list[str]] = {}
        for lease_id, waiting in self._waiting.items():
            by_pool.setdefault(waiting.pool, []).append(lease_id)
        self._waiting.clear()
        return by_pool

    def charge(self, lease_id: str, known: Cost) -> None:
        """As `Store.charge`."""
        if (held := self._leases.get(lease_id)) is not None:
            most = Cost(*(max(pair) for pair in zip(held.known, known, strict=True)))
            self._leases[lease_id] = structs.replace(held, known=most)

    def end(self, lease_id: str) -> bool:
        """A lease has ended. Returns whether it was open."""
        if lease_id not in self._leases:
            return False
        del self._leases[lease_id]
        return True

    def reserved(self) -> list[tuple[int, Reserve]]:
        """The steps that made the waiting requests, in order, with their numbers."""
        return [(each.number, each.step) for each in self._waiting.values() if each.step is not None]

    def held(self) -> list[Held]:
        """The open leases."""
        return [each for each in self._leases.values() if each is not None]
