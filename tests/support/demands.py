"""Records the demands that a store receives."""

from tidegate.core.domain.demand import Demand, Granted, Refused, Wait
from tidegate.stores.memory import MemoryStore


def demands_of(store: MemoryStore) -> list[Demand]:
    """Record every demand from now on, by `try_admit` and by `reserve`."""
    demands: list[Demand] = []
    try_admit, reserve = store.try_admit, store.reserve

    def admit_and_note(lease_id: str, demand: Demand) -> bool:
        demands.append(demand)
        return try_admit(lease_id, demand)

    async def reserve_and_note(lease_id: str, demand: Demand) -> Granted | Wait | Refused:
        demands.append(demand)
        return await reserve(lease_id, demand)

    store.try_admit, store.reserve = admit_and_note, reserve_and_note  # type: ignore[method-assign]
    return demands
