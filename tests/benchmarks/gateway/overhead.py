"""Compares `tidegate_overhead_seconds` with the added latency that a client measures."""

import asyncio
import re
import statistics
import urllib.request
from typing import Final

from benchmarks.gateway.client import Client, message_request
from benchmarks.gateway.contenders import Started

__all__ = ["overhead_points"]

_BLOCKS: Final = (1, 100, 300, 600, 1_000, 1_500)
"""Cached blocks of the prompt. Each is hashed, so the same number of bytes takes a different amount of work."""
_BODY_BYTES: Final = 120_000
_CALLS: Final = 20


async def overhead_points(ours: Started, direct: Started, rounds: int) -> list[tuple[float, float]]:
    """Measure bodies that take increasing work: medians of (milliseconds by the metric, milliseconds added).

    Raises:
        RuntimeError: The metric counts no calls.
    """
    points: list[tuple[list[float], list[float]]] = [([], []) for _ in _BLOCKS]
    through, past = await Client.connect(ours.port), await Client.connect(direct.port)
    for _ in range(rounds + 1):  # the first is a warm-up
        for (told, seen), blocks in zip(points, _BLOCKS, strict=True):
            request = message_request(ours.port, _BODY_BYTES, blocks=blocks)
            before = await _overhead(ours.port)
            added = [await through.call(request) - await past.call(request) for _ in range(_CALLS)]
            after = await _overhead(ours.port)
            if after[1] == before[1]:
                raise RuntimeError("tidegate_overhead_seconds counts no calls")
            told.append(1_000 * (after[0] - before[0]) / (after[1] - before[1]))
            seen.append(statistics.fmean(added) / 1e6)
    through.close()
    past.close()
    return [(statistics.median(told[1:]), statistics.median(seen[1:])) for told, seen in points]


async def _overhead(port: int) -> tuple[float, float]:
    """Sum and count of the histogram for Messages calls."""

    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read().decode())

    text = await asyncio.to_thread(read)
    found = {}
    for name in ("sum", "count"):
        line = re.search(rf'^tidegate_overhead_seconds_{name}{{route="/v1/messages"}} (\S+)', text, re.MULTILINE)
        found[name] = float(line[1]) if line else 0.0
    return found["sum"], found["count"]
