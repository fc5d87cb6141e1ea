"""The pools of a process that shares them in a store: there is nothing to hand over."""

from typing import Final

from tidegate.stores.remote.messages import Channel, Message
from tidegate.stores.store_state import StoreState

__all__ = ["SharedHandOver"]


class SharedHandOver:
    """Does what `StoreHandOver` does, where the new process is a further replica.

    The calls of the old process wait in the shared queue as before, and it leaves the store with its last call.

    Args:
        nothing: the state of a store without pools.
    """

    folded: Final[dict[str, int]] = {}
    """No process has its calls in the state."""

    def __init__(self, nothing: StoreState) -> None:
        self._nothing = nothing

    def begin(self) -> StoreState:
        """Returns the state of no pools."""
        return self._nothing

    def abort(self) -> None:
        """Does nothing: calls were admitted all the while."""

    def commit(self, channel: Channel) -> None:
        """Ends the connection to the new process: both use the shared store."""
        channel.close()

    def receive(self, message: Message) -> None:
        """Ignores the message."""

    def lost(self) -> None:
        """Does nothing: no call depends on the new process."""

    def close(self) -> None:
        """Does nothing: the connection has ended."""
