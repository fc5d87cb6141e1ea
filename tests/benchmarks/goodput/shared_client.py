"""Tidegate in several processes that share one log, with the delays and faults of a network."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from benchmarks.goodput.connection import UpstreamConnection
from benchmarks.goodput.records import Job, PredictedWait
from benchmarks.goodput.tidegate_client import TidegateClient
from support.memory_log import LogServer, MemoryLog
from support.virtual_time import VirtualClock
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.ports.observer import Observer
from tidegate.stores.pools import Pools
from tidegate.stores.remote.follower import Follower
from tidegate.stores.remote.messages import Message
from tidegate.stores.valkey.log_channel import LogChannel
from tidegate.stores.valkey.log_fold import LogFold
from tidegate.stores.valkey.log_leader import LogLeader

__all__ = ["LogFaults", "SharedClient"]


@dataclass(frozen=True, slots=True)
class LogFaults:
    """The network between the replicas and the server of the log.

    Attributes:
        latency_seconds: Of each direction; drawn from this range for each command.
        lost: Share of commands that get lost; of as many the answer gets lost, so that they are repeated.
    """

    latency_seconds: tuple[float, float] = (0.000_25, 0.000_5)
    lost: float = 0.0


class SharedClient(TidegateClient):
    """One replica. Make it in the event loop: it begins to follow, and to lead if nobody does."""

    def __init__(
        self,
        name: str,
        server: LogServer,
        connection: UpstreamConnection,
        rng: Random,
        clock: VirtualClock,
        pools: Mapping[str, PoolSettings],
        observer: Observer | None,
        waits: list[PredictedWait],
        faults: LogFaults,
    ) -> None:
        log = MemoryLog(server, rng, latency_seconds=sum(faults.latency_seconds)/2)
        channel = LogChannel(log, name, self._receive)
        self._follower = Follower(name, channel, lambda pool: pools.get(pool, PoolSettings()))
        leader = LogLeader(log, lambda: LogFold(Pools(pools)))
        super().__init__(connection, rng, clock, self._follower, observer, waits, name)
        self._tasks = [asyncio.create_task(each) for each in (channel.run(), leader.run())]

    def _receive(self, message: Message) -> None:
        self._follower.receive(message)

    async def aclose(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
