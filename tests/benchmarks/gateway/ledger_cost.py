"""CPU time of calls with and without a ledger."""

import asyncio
from collections.abc import Sequence
from random import Random
from statistics import median

from benchmarks.gateway.client import Client, message_request
from benchmarks.gateway.contenders import Started

__all__ = ["cpu_microseconds_each"]


async def cpu_microseconds_each(
    targets: Sequence[Started], random: Random, *, turns: int = 2, calls: int = 3_200, connections: int = 32
) -> dict[str, float]:
    """Measure the CPU time per call of each target, by its name.

    The targets take turns in random order, so that a change of the machine's speed affects all of them; the result is
    the median of the turns, for the same reason. A turn lasts longer than half a second: a ledger writes once in each
    of them, and it does not matter what the turn of another has left in the caches. The first one warms up.

    Raises:
        RuntimeError: A call failed.
    """
    clients = {target.name: [await Client.connect(target.port) for _ in range(connections)] for target in targets}
    used_seconds: dict[str, list[float]] = {target.name: [] for target in targets}
    for turn in range(turns + 1):
        for target in random.sample(targets, len(targets)):
            seconds = await _turn(target, clients[target.name], calls // connections)
            if turn:
                used_seconds[target.name].append(seconds)
    for each in clients.values():
        for client in each:
            client.close()
    calls_each = calls // connections * connections
    return {name: 1e6 * median(seconds) / calls_each for name, seconds in used_seconds.items()}


async def _turn(target: Started, clients: Sequence[Client], calls_each: int) -> float:
    """Let each client make its calls, and return the CPU seconds that the target used."""
    if target.process is None:
        return 0.0
    request = message_request(target.port, 2_000)

    async def calls(client: Client) -> None:
        for _ in range(calls_each):
            await client.call(request)

    before_seconds = target.process.cpu_seconds()
    await asyncio.gather(*map(calls, clients))
    return target.process.cpu_seconds() - before_seconds
