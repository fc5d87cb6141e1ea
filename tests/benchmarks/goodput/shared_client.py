"""Tidegate in several processes that share one log: one of them."""

import asyncio
from collections.abc import Mapping
from random import Random

from benchmarks.goodput.connection import UpstreamConnection
from benchmarks.goodput.records import Job, PredictedWait
from benchmarks.goodput.tidegate_client import TidegateClient
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.observer import Observer
from tidegate.stores.valkey.shared_log import SharedLog
from tidegate.stores.valkey.shared_store import SharedStore

__all__ = ["SharedClient"]


class SharedClient(TidegateClient):
    """Calls like the gateway, by a store on a shared log. Make it in the event loop."""

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
        self._shared = SharedStore(log, clock, pools, replica=name, random=rng.random)
        super().__init__(connection, rng, clock, self._shared, observer, waits, name)
        self._start = asyncio.create_task(self._shared.start())

    async def call(self, job: Job) -> bool:
        """As `Client.call`, once the process has joined the others."""
        await asyncio.shield(self._start)
        return await super().call(job)

    async def aclose(self) -> None:
        """Leaves, as at SIGTERM."""
        await self._start
        await self._shared.leave()
