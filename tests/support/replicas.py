"""Replicas that share one log, on virtual time, each with an admission of its own."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random

from support.memory_log import LogServer, MemoryLog
from support.virtual_time import VirtualClock
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.ports.observer import Observer
from tidegate.engine.admission import Admission
from tidegate.stores.pools import Pools
from tidegate.stores.remote.follower import Follower
from tidegate.stores.remote.messages import Message
from tidegate.stores.valkey.log_channel import LogChannel
from tidegate.stores.valkey.log_fold import LogFold
from tidegate.stores.valkey.log_leader import LogLeader

__all__ = ["Replica", "replicas"]


class Replica:
    """One process. `connection` can be made faulty."""

    def __init__(
        self,
        server: LogServer,
        clock: VirtualClock,
        name: str,
        configured: Mapping[str, PoolSettings],
        observer: Observer | None = None,
    ) -> None:
        self.name = name
        self.connection = MemoryLog(server, Random(name), latency_seconds=0.0005)  # noqa: S311
        self.channel = LogChannel(self.connection, name, self._receive)
        self.follower = Follower(name, self.channel, lambda pool: configured.get(pool, PoolSettings()))
        self.leader = LogLeader(self.connection, lambda: LogFold(Pools(configured)))
        self.admission = Admission(self.follower, clock, observer)
        self.admission.replica = name
        self._tasks: list[asyncio.Task[None]] = []

    def _receive(self, message: Message) -> None:
        self.follower.receive(message)

    def start(self) -> None:
        self._tasks = [asyncio.create_task(each) for each in (self.channel.run(), self.leader.run())]

    async def stop(self) -> None:
        """As SIGTERM."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._tasks = []

    async def kill(self) -> None:
        """As SIGKILL: nothing is given up in order."""
        self.connection.is_cut = True
        if self._tasks:
            await self.stop()


@asynccontextmanager
async def replicas(
    clock: VirtualClock, configured: Mapping[str, PoolSettings], count: int
) -> AsyncIterator[tuple[LogServer, list[Replica]]]:
    """A server and running replicas, one of which leads."""
    server = LogServer(clock)
    running = [Replica(server, clock, f"r{number}", configured) for number in range(count)]
    for each in running:
        each.start()
        await asyncio.sleep(0.1)
    try:
        yield server, running
    finally:
        for each in running:
            await each.kill()
