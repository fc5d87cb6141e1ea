"""Clients that always have the same number of calls open at one replica, and what becomes of each call."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import httpx2

from support.background_load import running_until

__all__ = ["Clients", "calling"]

_MODEL = "claude-sonnet-5-5"
_TIMEOUT = httpx2.Timeout(60, connect=10)
_BODY = {"model": _MODEL, "max_tokens": 100, "messages": [{"role": "user", "content": "hello"}]}
_AFTER_FAILURE_SECONDS = 0.1
_Call = Callable[[httpx2.AsyncClient], Awaitable[str | None]]
"""Makes a call, and returns why it got no whole answer."""


@dataclass
class Clients:
    """The clients of one replica.

    Attributes:
        url: of the replica.
        callers: calls that are open at any time.
        streams: streams that are open at any time.
        stream_tokens: how long a stream is.
        key: the caller.
        answered_at: when each whole answer was there.
        waits: how long each answer took, in seconds.
        lost: calls and streams without a whole answer, by reason.
    """

    url: str
    callers: int = 4
    streams: int = 1
    stream_tokens: int = 100
    key: str = "any"
    answered_at: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)

    def longest_gap(self, since: float, until: float) -> float:
        """The longest time without an answer in a period, in seconds."""
        times = [since, *(at for at in self.answered_at if since < at < until), until]
        return max(after - before for before, after in pairwise(times))

    def answers(self, since: float, until: float) -> int:
        """Whole answers in a period."""
        return sum(since < at < until for at in self.answered_at)

    async def run(self, over: asyncio.Event) -> None:
        """Calls until `over` is set. Then each call ends."""
        limits = httpx2.Limits(max_connections=None)
        async with httpx2.AsyncClient(base_url=self.url, timeout=_TIMEOUT, limits=limits) as client:
            calls = [self._repeat(self._call, client, over) for _ in range(self.callers)]
            streams = [self._repeat(self._stream, client, over) for _ in range(self.streams)]
            await asyncio.gather(*calls, *streams)

    async def _repeat(self, call: _Call, client: httpx2.AsyncClient, over: asyncio.Event) -> None:
        while not over.is_set():
            began = time.monotonic()
            try:
                reason = await call(client)
            except httpx2.HTTPError as error:
                reason = type(error).__name__
            if reason is None:
                self.answered_at.append(time.monotonic())
                self.waits.append(time.monotonic() - began)
            else:
                self.lost[reason] += 1
                await asyncio.sleep(_AFTER_FAILURE_SECONDS)

    async def _call(self, client: httpx2.AsyncClient) -> str | None:
        answer = await client.post("/v1/messages", json=_BODY, headers=self._headers(1))
        if answer.status_code == 200:
            return None if answer.json()["stop_reason"] else "no end"
        return _reason(answer)

    async def _stream(self, client: httpx2.AsyncClient) -> str | None:
        body = {**_BODY, "max_tokens": 4_096, "stream": True}
        headers = self._headers(self.stream_tokens)
        async with client.stream("POST", "/v1/messages", json=body, headers=headers) as answer:
            if answer.status_code != 200:
                await answer.aread()
                return _reason(answer)
            last = ""
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    last = json.loads(line.removeprefix("data: "))["type"]
        return None if last == "message_stop" else f"stream ends after {last}"

    def _headers(self, tokens: int) -> dict[str, str]:
        return {
            "x-api-key": self.key,
            "anthropic-version": "2023-06-01",
            "x-simulator-output-tokens": str(tokens),
        }


@asynccontextmanager
async def calling(*clients: Clients) -> AsyncIterator[None]:
    """Has the clients call while the block runs."""
    over = asyncio.Event()
    async with running_until(over, *(each.run(over) for each in clients)):
        yield


def _reason(answer: httpx2.Response) -> str:
    return f"{answer.status_code} {answer.headers.get('x-tidegate-cause', '')}".rstrip()
