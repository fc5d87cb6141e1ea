"""CPU time of stream events, and memory of open streams."""

import asyncio
from dataclasses import dataclass
from typing import Final

from benchmarks.gateway.client import Client, message_request
from benchmarks.gateway.contenders import Started

__all__ = ["OpenStreams", "events_per_cpu_second", "open_streams"]

_EVERY_SECONDS: Final = 0.01
_AT_A_TIME: Final = 100
_SETTLE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class OpenStreams:
    """Result of many concurrent streams. Memory is the increase per stream."""

    finished: int
    kilobytes_each: float


async def events_per_cpu_second(target: Started, streams: int, deltas: int) -> float:
    """Measure text deltas, sent one by one, per second of the relay's CPU time."""
    if target.process is None:
        return float("inf")
    clients = [await Client.connect(target.port) for _ in range(streams)]
    request = message_request(target.port, 2_000, f"?deltas={deltas}&every={_EVERY_SECONDS}", stream=True)
    before_seconds = target.process.cpu_seconds()
    await asyncio.gather(*(client.call(request) for client in clients))
    used_seconds = target.process.cpu_seconds() - before_seconds
    for client in clients:
        client.close()
    return streams * deltas / used_seconds


async def open_streams(target: Started, streams: int, seconds: float) -> OpenStreams:
    """Open concurrent streams with an event every half second, and read each to its end."""
    if target.process is None:
        return OpenStreams(streams, 0.0)
    deltas = max(2, round(2 * seconds))
    request = message_request(target.port, 2_000, f"?deltas={deltas}&every=0.5", stream=True)
    before_bytes = target.process.resident_bytes()
    clients: list[Client] = []
    calls: list[asyncio.Task[int]] = []
    for start in range(0, streams, _AT_A_TIME):
        new = [await Client.connect(target.port) for _ in range(min(_AT_A_TIME, streams - start))]
        clients += new
        calls += [asyncio.create_task(client.call(request)) for client in new]
        await asyncio.sleep(0.02)
    await asyncio.gather(
        *(
            asyncio.wait({client.has_begun, call}, return_when=asyncio.FIRST_COMPLETED)
            for client, call in zip(clients, calls, strict=True)
        )
    )
    await asyncio.sleep(_SETTLE_SECONDS)
    held_bytes = target.process.resident_bytes() - before_bytes
    results = await asyncio.gather(*calls, return_exceptions=True)
    for client in clients:
        client.close()
    return OpenStreams(sum(isinstance(result, int) for result in results), held_bytes / streams / 1_024)
