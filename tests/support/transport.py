"""Runs the relay's HTTP client against a raw upstream."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from support.raw_upstream import Exchange, RawUpstream, raw_upstream
from support.write_batchers import write_batcher_in_use
from tidegate.core.ports.transport import TransportRequest
from tidegate.http.client.transport import HttpTransport

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
GET = TransportRequest(b"GET", b"/v1/models", [(b"accept", b"*/*")], replayable=True)
POST = TransportRequest(b"POST", b"/v1/messages", [(b"x", b"1")], b"{}", replayable=True)

LOOP: dict[str, Any] = {"factory": asyncio.new_event_loop, "busy": False}
"""The factory of the event loop for the next run, and whether the loop is busy; set by `each_event_loop`."""

Steps = Callable[[HttpTransport, RawUpstream], Awaitable[None]]


def run_in_loop(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=LOOP["factory"]) as runner:
        runner.run(main)


def run(script: Callable[[Exchange], Awaitable[None]], steps: Steps, **options: float) -> None:
    async def main() -> None:
        in_use = write_batcher_in_use(busy=LOOP["busy"])
        async with raw_upstream(script) as upstream, in_use as write_batcher, asyncio.timeout(10):
            transport = HttpTransport(upstream.url, write_batcher=write_batcher, **options)  # type: ignore[arg-type]
            try:
                await steps(transport, upstream)
            finally:
                await transport.aclose()

    run_in_loop(main())


async def whole(transport: HttpTransport, request: TransportRequest = POST) -> tuple[int, bytes]:
    response = await transport.send(request)
    try:
        return response.status, b"".join([chunk async for chunk in response.chunks()])
    finally:
        await response.aclose()


def says(*answers: bytes) -> Callable[[Exchange], Awaitable[None]]:
    async def script(exchange: Exchange) -> None:
        for answer in answers:
            await exchange.request()
            await exchange.say(answer)

    return script
