"""Open streams and steady calls through the anthropic SDK, and what becomes of each."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anthropic
import httpx2

from support.background_load import running_until

MODEL = "claude-sonnet-5-5"
_TIMEOUT = httpx2.Timeout(600, connect=60)
"""As the SDK's, but on a busy machine this process itself may take more than the usual 5 s to notice a connection."""
TOKENS_HEADER = "x-simulator-output-tokens"
"""The simulator generates so many tokens."""


@dataclass
class Counts:
    """What clients noticed.

    Attributes:
        calls: plain calls with a whole answer.
        streams: streams with a whole answer.
        cut: answers that had begun and did not end.
        failed: other calls without an answer, by the kind of error.
        refused: answers with an error status, by status and cause.
        slowest_seconds: the longest time to a plain answer.
    """

    calls: int = 0
    streams: int = 0
    cut: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    slowest_seconds: float = 0.0

    @property
    def lost(self) -> int:
        """All calls and streams that did not get their whole answer."""
        return self.cut.total() + self.failed.total() + self.refused.total()

    def __str__(self) -> str:
        answers = f"{self.calls} calls and {self.streams} streams answered"
        return (
            f"{answers}, {self.failed.total()} failed {dict(self.failed)}, {self.cut.total()} cut {dict(self.cut)}, "
            f"{self.refused.total()} refused {dict(self.refused)}; slowest call {self.slowest_seconds:.1f} s"
        )


@dataclass(frozen=True)
class Load:
    """The load on a service.

    Attributes:
        streams: how many streams are open at any time. Each is followed by another one.
        stream_seconds: how long each lasts.
        calls_per_second: plain calls.
        retries: `max_retries` of the SDK.
        seconds_per_token: of the simulator.
    """

    streams: int
    stream_seconds: float
    calls_per_second: float
    retries: int = anthropic.DEFAULT_MAX_RETRIES
    seconds_per_token: float = 0.25


@asynccontextmanager
async def running_load(url: str, load: Load) -> AsyncIterator[Counts]:
    """Loads the service while the block runs. At its end, all calls under way get their answers, which are counted."""
    counts, over = Counts(), asyncio.Event()
    async with anthropic.AsyncAnthropic(
        api_key="any", base_url=url, max_retries=load.retries, timeout=_TIMEOUT
    ) as client:
        clients = _Clients(client, load, counts, over)
        streams = [clients.keep_a_stream_open(number) for number in range(load.streams)]
        async with running_until(over, *streams, clients.call_steadily()):
            yield counts


class _Clients:
    def __init__(self, client: anthropic.AsyncAnthropic, load: Load, counts: Counts, over: asyncio.Event) -> None:
        self._client = client
        self._load = load
        self._counts = counts
        self._over = over

    async def keep_a_stream_open(self, number: int) -> None:
        """One stream after the other. The first ones begin and end at different times."""
        share = (number + 1) / self._load.streams
        await asyncio.sleep(share * min(self._load.stream_seconds, 5))
        seconds = self._load.stream_seconds * (0.5 + share / 2)
        while not self._over.is_set():
            await self._stream(seconds)
            seconds = self._load.stream_seconds

    async def call_steadily(self) -> None:
        """Starts calls at a steady rate, whatever becomes of them, and waits for all of them at the end."""
        calls: set[asyncio.Task[None]] = set()
        began, started = time.monotonic(), 0
        while not self._over.is_set():
            due = int((time.monotonic() - began) * self._load.calls_per_second)
            while started < due:
                started += 1
                task = asyncio.create_task(self._call())
                calls.add(task)
                task.add_done_callback(calls.discard)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), 0.01)
        await asyncio.gather(*calls)

    async def _call(self) -> None:
        began = time.monotonic()
        try:
            answer = await self._client.messages.create(
                model=MODEL, max_tokens=100, messages=_QUESTION, extra_headers={TOKENS_HEADER: "1"}
            )
        except anthropic.APIStatusError as error:
            self._counts.refused[_reason(error)] += 1
        except (anthropic.APIError, httpx2.HTTPError) as error:
            self._counts.failed[_kind(error)] += 1
        else:
            assert answer.stop_reason is not None
            self._counts.calls += 1
            self._counts.slowest_seconds = max(self._counts.slowest_seconds, time.monotonic() - began)

    async def _stream(self, seconds: float) -> None:
        tokens = max(1, round(seconds / self._load.seconds_per_token))
        has_begun, last = False, ""
        try:
            stream = await self._client.messages.create(
                model=MODEL,
                max_tokens=4_096,
                messages=_QUESTION,
                stream=True,
                extra_headers={TOKENS_HEADER: f"{tokens}"},
            )
            async for event in stream:
                has_begun, last = True, event.type
        except anthropic.APIStatusError as error:
            (self._counts.cut if has_begun else self._counts.refused)[_reason(error)] += 1
        except (anthropic.APIError, httpx2.HTTPError) as error:
            (self._counts.cut if has_begun else self._counts.failed)[_kind(error)] += 1
        else:
            if last == "message_stop":
                self._counts.streams += 1
            else:
                self._counts.cut[f"ended after {last or 'nothing'}"] += 1


_QUESTION: list[anthropic.types.MessageParam] = [{"role": "user", "content": "Tell a story"}]


def _reason(error: anthropic.APIStatusError) -> str:
    """Status of an error response, and its cause if the service has refused the call."""
    cause = error.response.headers.get("x-tidegate-cause", "")
    return f"{error.status_code} {cause}".rstrip()


def _kind(error: Exception) -> str:
    """The error, with the one that caused it."""
    cause = error.__cause__ or error.__context__
    return type(error).__name__ if cause is None else f"{type(error).__name__} ({type(cause).__name__}: {cause})"
