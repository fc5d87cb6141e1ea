"""The place and the remaining wait of a request that waits for its admission."""

from msgspec import Struct

from tidegate.core.domain.snapshots import WaitLeft
from tidegate.core.ports.store import Store

__all__ = ["Waiting"]


class Waiting(Struct, frozen=True, gc=False):
    """A request that waits, for whoever wants to tell its client.

    Attributes:
        pool: that it waits for.
        lease_id: its name in the store.
        predicted_seconds: how long it would probably wait, when it began to.
    """

    pool: str
    lease_id: str
    predicted_seconds: float
    store: Store

    async def left(self) -> WaitLeft | None:
        """The approximate place and remaining wait of this waiter; None once it does not wait any more."""
        return await self.store.wait_left(self.pool, self.lease_id)
