"""The load of the soak: a fixed rate of calls, of which some are cancelled and some fail upstream."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from support.http_connections import Answer, Connections, message_request

__all__ = [
    "BREAKING",
    "CALLERS",
    "FAULTS",
    "FAULTY_MODEL",
    "MAIN_MODEL",
    "PROBE_MODEL",
    "Kind",
    "Load",
]

CALLERS: Final = tuple(f"caller-{number}" for number in range(5))
MAIN_MODEL: Final = "claude-sonnet-5-5"
FAULTY_MODEL: Final = "claude-opus-5-5"
"""Its pool opens its circuit and loses its share of retries, which must not disturb the calls of the main model."""
PROBE_MODEL: Final = "claude-haiku-5-5"

_CALLS_OF_A_SESSION: Final = 20
FAULTS: Final = (
    "overloaded",
    "internal_error",
    "bad_gateway",
    "gateway_timeout",
    "slow_start",
    "slow_stream",
    "stream_error",
    "cut",
    "unknown_content",
    "refusal",
    "max_tokens",
)
BREAKING: Final = frozenset({"slow_stream", "stream_error", "cut", "unknown_content"})
"""Faults after which only the simulator knows how much it has produced."""


class Kind(StrEnum):
    """What a call is for."""

    PLAIN = "plain"
    STREAM = "stream"
    CANCELLED = "cancelled"
    FAULT = "fault"


_WEIGHTS: Final = {Kind.PLAIN: 50, Kind.STREAM: 32, Kind.CANCELLED: 10, Kind.FAULT: 8}


@dataclass
class Load:
    """Makes calls at a fixed rate, whether earlier ones have ended or not (open loop).

    Attributes:
        port: of the service.
        per_second: calls started per second.
        rng: draws the calls.
        faults: of the simulator, one of which is drawn for each call that fails.
        ends: how calls ended, by kind.
        lost: texts of the first calls that failed although nothing was wrong with them.
    """

    port: int
    per_second: float
    rng: random.Random
    faults: Sequence[str] = FAULTS
    ends: Counter[tuple[Kind, str]] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    started: int = 0

    def __post_init__(self) -> None:
        self._connections = Connections(self.port)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, seconds: float) -> None:
        """Starts calls for this time, and waits until all have ended."""
        loop = asyncio.get_running_loop()
        next_at = begun_at = loop.time()
        while next_at < begun_at + seconds:
            await asyncio.sleep(next_at - loop.time())
            task = asyncio.create_task(self._call())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            next_at += self.rng.expovariate(self.per_second)
        await asyncio.gather(*self._tasks)
        self._connections.close()

    async def _call(self) -> None:
        self.started += 1
        (kind,) = self.rng.choices(list(_WEIGHTS), weights=list(_WEIGHTS.values()))
        streams = kind is Kind.STREAM or (kind is not Kind.PLAIN and self.rng.random() < 0.7)
        fields = {
            "x-api-key": self.rng.choice(CALLERS),
            "x-tidegate-session": f"session-{self.started // _CALLS_OF_A_SESSION}",
            "x-tidegate-priority": self.rng.choice(["interactive", "standard", "batch"]),
            "x-tidegate-timeout-seconds": "60",
            "x-simulator-output-tokens": str(self.rng.choice([10, 30, 30, 80])),
        }
        if kind is Kind.FAULT:
            fields |= {"x-simulator-fault": self.rng.choice(self.faults), "x-simulator-output-tokens": "10"}
            fields["x-tidegate-timeout-seconds"] = "10"
        model = FAULTY_MODEL if kind is Kind.FAULT else MAIN_MODEL
        size = self.rng.choices([500, 2_000, 20_000, 100_000], weights=[40, 45, 13, 2])[0]
        request = message_request(self.port, model, size, fields, stream=streams)
        if kind is Kind.CANCELLED:
            await self._cancel(request)
        else:
            self._ended(kind, await self._connections.call(request), streams=streams)

    async def _cancel(self, request: bytes) -> None:
        """Closes the connection while the call waits, while it is sent, or in the middle of the response."""
        try:
            async with asyncio.timeout(self.rng.expovariate(1 / 0.04)):
                await self._connections.call(request)
        except TimeoutError:
            self.ends[Kind.CANCELLED, "cancelled"] += 1
        else:
            self.ends[Kind.CANCELLED, "answered first"] += 1

    def _ended(self, kind: Kind, answer: Answer, *, streams: bool) -> None:
        is_whole = answer.status == 200 and answer.is_complete and (not streams or b"message_stop" in answer.end)
        end = "whole" if is_whole else "broken" if not answer.is_complete else str(answer.status)
        self.ends[kind, end] += 1
        if kind is not Kind.FAULT and not is_whole and len(self.lost) < 10:
            self.lost.append(f"{kind}: {answer}")
