"""Tidegate in several processes that share one log: one of them."""

import asyncio
from collections.abc import Mapping
from random import Random

from benchmarks.goodput.connection import UpstreamConnection
from benchmarks.goodput.records import PredictedWait
from benchmarks.goodput.tidegate_client import TidegateClient
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.observer import Observer
from tidegate.stores.pools import Pools
from tidegate.stores.remote.follower import Follower
from tidegate.stores.remote.messages import Message
from tidegate.stores.valkey.log_channel import LogChannel
from tidegate.stores.valkey.log_fold import LogFold
from tidegate.stores.valkey.log_leader import LogLeader
from tidegate.stores.valkey.shared_log import SharedLog

__all__ = ["SharedClient"]


class SharedClient(TidegateClient):
    """Calls like the gateway, by a store on a shared log.

    Make it in the event loop: it begins to follow, and to lead if nobody does.
    """

    def __init__(
        self,
        name: str,
        log: SharedLog,
        connection: UpstreamConnection,
        rng: Random,
        clock: Clock,
        pools: Mapping[str, PoolSettings],
        observer: Observer | None,
        waits: list[PredictedWait],
    ) -> None:
        channel = LogChannel(log, name, self._receive)
        self._follower = Follower(name, channel, lambda pool: pools.get(pool, PoolSettings()))
        leader = LogLeader(log, lambda: LogFold(Pools(pools)))
        super().__init__(connection, rng, clock, self._follower, observer, waits, name)
        self._tasks = [asyncio.create_task(each) for each in (channel.run(), leader.run())]

    def _receive(self, message: Message) -> None:
        self._follower.receive(message)

    async def aclose(self) -> None:
        """Leaves, as at SIGTERM."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
