"""The service as a process with an upstream that injects faults, each in a pool of its own."""

import asyncio
import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx2

from support.raw_upstream import Exchange, raw_upstream
from support.service_and_simulator import WatchedService
from support.service_process import running

Fault = Callable[[Exchange], Awaitable[None]]
QUICK = {
    "CLAUDE_RATE_LIMIT_DELAY": "0.02",
    "MAX_RATE_LIMIT_DELAY": "0.05",
    "TIDEGATE_STREAM_IDLE_SECONDS": "2.5",
    "TIDEGATE_BODY_IDLE_SECONDS": "1",
    "TIDEGATE_HEADER_SECONDS": "1",
}
"""Short timeouts, so that tests take seconds."""

_numbers = count(1)


def _not_yet(*_: object) -> None:
    raise RuntimeError("not started")


@dataclass
class FaultyUpstream:
    """Serves each connection with `fault`.

    Attributes:
        url: Base URL.
        fault: Serves a connection.
        connections: Number of connections so far.
        listens: Makes it listen again, with a TLS context or without.
        refuses: Makes it stop listening.
    """

    url: str = ""
    fault: Fault | None = None
    connections: int = 0
    listens: Callable[[ssl.SSLContext | None], None] = _not_yet
    refuses: Callable[[], None] = _not_yet

    async def serve(self, exchange: Exchange) -> None:
        assert self.fault is not None
        self.connections += 1
        await self.fault(exchange)


@contextlib.contextmanager
def faulty_upstream(tls: ssl.SSLContext | None = None) -> Iterator[FaultyUpstream]:
    """Run one in a thread with its own event loop."""
    upstream, ready, over = FaultyUpstream(), threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    def wait_for(step: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(step, loop).result(10)

    async def main() -> None:
        async with raw_upstream(upstream.serve, tls) as raw:
            upstream.url = raw.url
            upstream.listens = lambda tls: wait_for(raw.listen(tls))
            upstream.refuses = lambda: wait_for(raw.refuse())
            ready.set()
            await over.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join(10)
        loop.close()


@dataclass
class Received:
    """A response, whether it broke off, and when its head and body started (monotonic time)."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    broke: bool = False
    head_at: float = 0.0
    first_at: float = 0.0

    def error(self) -> str:
        """Type of an error response of the Claude API."""
        fields = json.loads(self.body)
        assert (fields["type"], sorted(fields["error"])) == ("error", ["message", "type"])
        return str(fields["error"]["type"])


@dataclass
class FaultedService(WatchedService):
    """The service with a faulty upstream."""

    upstream: FaultyUpstream = field(default_factory=FaultyUpstream)
    model: str = ""

    def new_pool(self) -> None:
        """Use a pool without earlier faults from now on."""
        self.model = f"claude-fault-{next(_numbers)}"
        self.upstream.connections = 0

    def ask(self, fault: Fault | None = None, *, stream: bool = False, seconds: float = 5.0) -> Received:
        """Make a Messages call under a fault."""
        self.upstream.fault = fault
        call = {
            "model": self.model,
            "max_tokens": 10,
            "messages": [{"role": "user", "content": "hi"}],
            "stream": stream,
        }
        headers = {"x-tidegate-timeout-seconds": str(seconds), "accept-encoding": "identity"}
        url = f"{self.service.url}/v1/messages"
        with httpx2.stream("POST", url, json=call, headers=headers, timeout=30) as answer:
            received = Received(answer.status_code, dict(answer.headers), head_at=time.monotonic())
            try:
                for data in answer.iter_raw():
                    received.first_at = received.first_at or time.monotonic()
                    received.body += data
            except httpx2.TransportError:
                received.broke = True
        return received


@contextlib.contextmanager
def faulted_service(directory: Path, upstream_url: str = "", **variables: str) -> Iterator[FaultedService]:
    """Run the service with a faulty upstream, or with another URL."""
    with faulty_upstream() as upstream:
        settings = {**QUICK, "ANTHROPIC_API_KEY": "any", "TIDEGATE_UPSTREAM_URL": upstream_url or upstream.url}
        with running(directory, "serve", **{**settings, **variables}) as service:
            on = FaultedService(service, upstream=upstream)
            on.idle_tasks()
            on.new_pool()
            yield on


def closed_port() -> int:
    """Find a port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
