"""Followers and a leader in one process, over a channel in memory that may delay, lose and repeat messages."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from msgspec import Struct

from tidegate.stores.memory import MemoryStore
from tidegate.stores.remote.follower import Follower, Handed
from tidegate.stores.remote.leader import Leader
from tidegate.stores.remote.messages import Message, decode_message, encode_message


class Faults(Struct, frozen=True):
    """What a channel does to its messages. Shares are of 1."""

    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    lost: float = 0.0
    repeated: float = 0.0
    seed: int = 0


NONE = Faults()


class MemoryChannel:
    """One direction of a connection: keeps the order of what it does not lose."""

    def __init__(self, faults: Faults = NONE) -> None:
        self.sent: list[Message] = []
        self.is_closed = False
        self._deliver: Callable[[Message], None]
        self._end: Callable[[], None]
        self._faults = faults
        self._random = random.Random(faults.seed)  # noqa: S311 - no secret
        self._loop = asyncio.get_running_loop()
        self._under_way: deque[bytes] = deque()
        self._last = 0.0

    def listen(self, deliver: Callable[[Message], None], end: Callable[[], None]) -> None:
        self._deliver, self._end = deliver, end

    def send(self, message: Message) -> None:
        self.sent.append(message)
        if self.is_closed or self._random.random() < self._faults.lost:
            return
        for _ in range(2 if self._random.random() < self._faults.repeated else 1):
            delay = self._faults.delay_seconds + self._random.random() * self._faults.jitter_seconds
            self._last = max(self._last, self._loop.time() + delay)
            self._under_way.append(encode_message(message))
            self._loop.call_at(self._last, self._arrive)

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            self._loop.call_soon(self._end)

    def _arrive(self) -> None:
        data = self._under_way.popleft()
        if not self.is_closed:
            self._deliver(decode_message(data))


@dataclass
class Connection:
    """A follower, connected to a leader."""

    follower: Follower
    to_leader: MemoryChannel
    to_follower: MemoryChannel

    def end(self) -> None:
        """The connection breaks: both sides notice."""
        self.to_leader.close()
        self.to_follower.close()


def connect(
    leader: Leader,
    store: MemoryStore,
    replica: str,
    faults: Faults = NONE,
    handed: Handed | None = None,
    resend_seconds: float = 1.0,
) -> Connection:
    """Connects a new follower. Call it in the event loop."""
    to_leader, to_follower = MemoryChannel(faults), MemoryChannel(faults)
    follower = Follower(replica, to_leader, store.settings_now, handed, resend_seconds=resend_seconds)
    session = leader.connect(to_follower)
    to_leader.listen(session.receive, session.lost)
    to_follower.listen(follower.receive, follower.lost)
    return Connection(follower, to_leader, to_follower)
