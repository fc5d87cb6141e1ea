"""Latency of calls at a constant rate, and of the first event of streams."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from benchmarks.gateway.client import Client, message_request
from benchmarks.gateway.contenders import Started

__all__ = ["first_event_ms", "percentile", "steady_ms"]

_CONNECTIONS: Final = 32
_WARM_CALLS: Final = 4


async def steady_ms(target: Started, per_second: int, seconds: float, body_bytes: int = 2_000) -> list[float]:
    """Measure the latency of each call at a constant arrival rate (open loop).

    Raises:
        RuntimeError: A call failed.
    """
    request = message_request(target.port, body_bytes)
    idle = [await Client.connect(target.port) for _ in range(_CONNECTIONS)]
    clients = list(idle)
    for client in idle:
        for _ in range(_WARM_CALLS):
            await client.call(request)
    latencies: list[float] = []

    async def call() -> None:
        if not idle:
            idle.append(await Client.connect(target.port))
            clients.append(idle[-1])
        client = idle.pop()
        latencies.append(await client.call(request) / 1e6)
        idle.append(client)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as calls:
        for number in range(round(per_second * seconds)):
            await asyncio.sleep(max(0.0, started + number / per_second - time.perf_counter()))
            calls.create_task(call())
    for client in clients:
        client.close()
    return latencies


async def first_event_ms(target: Started, calls: int) -> list[float]:
    """Measure the time from sending a call to the first event of its stream, one call at a time."""
    request = message_request(target.port, 2_000, "?deltas=20&every=0", stream=True)
    client = await Client.connect(target.port)
    for _ in range(_WARM_CALLS):
        await client.call(request)
    latencies: list[float] = []
    for _ in range(calls):
        started_ns = time.perf_counter_ns()
        await client.call(request)
        latencies.append((client.first_event_ns - started_ns) / 1e6)
        await asyncio.sleep(0.002)
    client.close()
    return latencies


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that is not exceeded by this percentage of the values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
