"""An application behind the real server, over real sockets, with limits of parts of a second."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from support.transport import LOOP
from support.write_batchers import write_batcher_in_use
from tidegate.core.domain.events import Event, HeadRefused
from tidegate.gateway.gateway_errors import unread_request
from tidegate.http.server.connection_limits import ConnectionLimits
from tidegate.http.server.listener import bind
from tidegate.http.server.server import HttpServer, serving

LIMITS = ConnectionLimits(
    head_bytes=2_000,
    head_seconds=0.5,
    idle_seconds=0.6,
    body_idle_seconds=0.5,
    unread_seconds=0.6,
    total_unread_paths={"/v1/messages"},
)
GET = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n"

END_OF_EARLY = b"\r\n\r\n1\r\n0\r\n0\r\n\r\n"
"""Of the answer to a request without a body, or to a body of which nothing was read."""

pytestmark = pytest.mark.usefixtures("busy_or_not")
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class App:
    """Responds with the body's length, at once or later, or with megabytes.

    It may respond before it has read the body.
    """

    def __init__(self) -> None:
        self.waits_seconds = 0.0
        self.megabytes = 0
        self.part_bytes = 64 * 1024
        self.reads = True
        self.ended: list[str] = []
        self.over = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(self.waits_seconds)
        length, more = 0, self.reads
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.ended.append("left")
                self.over.set()
                return
            length += len(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(self.megabytes * 1024 * 1024 // self.part_bytes):
            await send({"type": "http.response.body", "body": bytes(self.part_bytes), "more_body": True})
        await send({"type": "http.response.body", "body": b"%d" % length})
        gone = self.megabytes and (await receive())["type"] == "http.disconnect"
        self.ended.append(f"{scope['path']} {'sent' if not gone else 'over'}")
        self.over.set()


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def run(steps: Callable[[App, int], Awaitable[None]], *, keep_alive_seconds: int = 75) -> list[Event]:
    """Runs the steps; returns the events that were reported."""
    events: list[Event] = []

    async def main() -> None:
        app = App()
        listener = bind("127.0.0.1", 0, "host", "port")
        async with asyncio.timeout(20), write_batcher_in_use(busy=LOOP["busy"]) as write_batcher:
            server = HttpServer(
                app,
                listener,
                limits=LIMITS,
                report=events.append,
                write_batcher=write_batcher,
                error_response=unread_request,
            )
            server.config.timeout_keep_alive = keep_alive_seconds
            async with serving(server):
                await steps(app, listener.getsockname()[1])

    asyncio.run(main())
    return events


def heads_refused(events: list[Event]) -> list[tuple[int, str]]:
    """Status and client of each refused head; there are no other events."""
    assert all(isinstance(event, HeadRefused) and event.request_id for event in events)
    return [(event.status, event.client) for event in events if isinstance(event, HeadRefused)]


def told(answer: bytes) -> tuple[int, str, str]:
    """Status, error type and message of an error response."""
    head, _, body = answer.partition(b"\r\n\r\n")
    document = json.loads(body)
    error, request_id = document["error"], document["request_id"].encode()
    assert b"connection: close" in head
    assert b"\r\nrequest-id: " + request_id in head
    assert b"\r\nx-tidegate-request-id: " + request_id in head
    return int(head.split()[1]), error["type"], error["message"]
