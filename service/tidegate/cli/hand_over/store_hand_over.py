"""Hands the pools of this process over to another one, while its own calls wait and run."""

from msgspec import structs

from tidegate.stores.memory import MemoryStore
from tidegate.stores.remote.follower import Follower, Handed
from tidegate.stores.remote.leader import Leader
from tidegate.stores.remote.messages import Channel, Message, Results, Steps
from tidegate.stores.steps import replica_of
from tidegate.stores.store_state import StoreState
from tidegate.stores.switchable import SwitchableStore

__all__ = ["StoreHandOver"]


class StoreHandOver:
    """Turns this process into a follower of another one, in two phases.

    All methods belong to the event loop of the service. No other thread makes steps meanwhile.

    After `begin`, steps are held back, and no call is admitted. `commit` sends them to the other process, which decides
    from then on. `abort` applies them here instead, as if nothing had happened.

    Args:
        store: the store that the calls of this process use.
        memory: the pools that are handed over.
        leader: serves the processes that have handed over to this one before. They stay connected here.
        replica: name of this process; its lease ids begin with it.
    """

    def __init__(self, store: SwitchableStore, memory: MemoryStore, leader: Leader, replica: str) -> None:
        self._store = store
        self._memory = memory
        self._leader = leader
        self._replica = replica
        self._last_step = 0
        self._held: list[Message] = []
        self._channel: Channel | None = None
        self._follower: Follower | None = None

    @property
    def folded(self) -> dict[str, int]:
        """The processes whose calls are in the pools, each with the number of its last step."""
        return {self._replica: self._last_step, **self._leader.folded}

    def begin(self) -> StoreState:
        """Holds all further steps back. Returns the pools with their live work."""
        snapshots, state = self._memory.snapshot_now(), self._memory.dump(work=True)
        handed = _handed(state, self._replica)
        handed = structs.replace(handed, pools=snapshots, last_step=self._last_step)
        self._follower = Follower(self._replica, self, self._memory.settings_now, handed)
        self._store.switch(self._follower)
        self._leader.forward(self)
        return state

    def abort(self) -> None:
        """Applies the steps that were held back, and admits calls again."""
        follower = self._follower
        if follower is None:
            return
        follower.flush()
        held, self._held = self._held, []
        self._last_step = follower.last_step
        self._store.switch(self._memory)
        self._leader.forward(None)
        for message in held:
            if message.replica != self._replica:
                self._leader.receive_again(message)
            elif isinstance(message, Steps):
                folded = self._memory.fold(message.batch)
                follower.receive(Results(self._replica, 0, folded.number, folded.answers))
        follower.lost()  # whoever still waits for its reply goes on without
        self._follower = None
        for pool in self._memory.snapshot_now():
            if pool.waiting:
                self._memory.advance(pool.pool)  # timers that ended meanwhile have had no effect

    def commit(self, channel: Channel) -> None:
        """Sends all steps, held back and further ones, to the other process."""
        self._channel = channel
        for message in self._held:
            channel.send(message)
        self._held.clear()

    # The channel of the follower, and of the leader for the followers of this process.

    def send(self, message: Message) -> None:
        """As `Channel.send`."""
        if self._channel is None:
            self._held.append(message)
        else:
            self._channel.send(message)

    def close(self) -> None:
        """As `Channel.close`."""
        if self._channel is not None:
            self._channel.close()

    def leave(self, replica: str) -> None:
        """As `Upstream.leave`."""
        if self._follower is not None:
            self._follower.leave(replica)

    def receive(self, message: Message) -> None:
        """Takes in a message of the other process."""
        if message.replica != self._replica:
            self._leader.deliver(message)
        elif self._follower is not None:
            self._follower.receive(message)

    def lost(self) -> None:
        """The other process is gone: all calls that wait are refused."""
        self._leader.close()
        if self._follower is not None:
            self._follower.lost()


def _handed(state: StoreState, replica: str) -> Handed:
    """The part of the pools that belongs to the calls of one process."""
    pools = () if state.work is None else state.work.pools
    waiting = {
        waiter.lease_id: pool.pool
        for pool in pools
        for waiter in pool.queue.waiters
        if replica_of(waiter.lease_id) == replica
    }
    leases = {lease.lease_id for pool in pools for lease in pool.leases if replica_of(lease.lease_id) == replica}
    return Handed(waiting, frozenset(leases))
