"""Replicas that share one log, on virtual time, each with an admission of its own."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from random import Random

from support.memory_log import LogServer, MemoryLog
from support.virtual_time import VirtualClock
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.ports.observer import Observer
from tidegate.engine.admission import Admission
from tidegate.stores.valkey.shared_store import SharedStore

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
        *,
        without_store: int | None = None,
    ) -> None:
        self.name = name
        self.connection = MemoryLog(server, Random(name), latency_seconds=0.0005)  # noqa: S311
        chance = Random(name).random  # noqa: S311
        self.store = SharedStore(
            self.connection, clock, configured, replica=name, without_store=without_store, random=chance
        )
        self.admission = Admission(self.store, clock, observer)
        self.admission.replica = name

    @property
    def leads(self) -> bool:
        return self.store.status().is_leader

    async def start(self) -> None:
        await self.store.start()

    async def stop(self) -> None:
        """As SIGTERM."""
        await self.store.leave()

    async def kill(self) -> None:
        """As SIGKILL: nothing is given up in order."""
        self.connection.is_cut = True
        await self.store.stop()


@asynccontextmanager
async def replicas(
    clock: VirtualClock, configured: Mapping[str, PoolSettings], count: int
) -> AsyncIterator[tuple[LogServer, list[Replica]]]:
    """A server and running replicas, one of which leads."""
    server = LogServer(clock)
    running = [Replica(server, clock, f"r{number}", configured) for number in range(count)]
    for each in running:
        await each.start()
    try:
        yield server, running
    finally:
        for each in running:
            await each.kill()
