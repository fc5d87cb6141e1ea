"""What a store is asked for."""

from tidegate.core.domain.demand import Demand, Granted, Refused, Wait
from tidegate.stores.memory import MemoryStore


def demands_of(store: MemoryStore) -> list[Demand]:
    """Every demand from now on, once for each way in which it is made."""
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
