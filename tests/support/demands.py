"""Records the demands that a store receives."""

from tidegate.core.domain.demand import Demand, Granted, Refused, Wait
from tidegate.stores.memory import MemoryStore


def demands_of(store: MemoryStore) -> list[Demand]:
    """Record every demand from now on, by `take` and by `reserve`."""
    demands: list[Demand] = []
    take, reserve = store.take, store.reserve

    def take_and_note(lease_id: str, demand: Demand) -> bool:
        demands.append(demand)
        return take(lease_id, demand)

    async def reserve_and_note(lease_id: str, demand: Demand) -> Granted | Wait | Refused:
        demands.append(demand)
        return await reserve(lease_id, demand)

    store.take, store.reserve = take_and_note, reserve_and_note  # type: ignore[method-assign]
    return demands
