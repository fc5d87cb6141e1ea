"""Clients that leave, over real connections: the work for them stops."""

import asyncio
import json
from typing import cast
from urllib.parse import urlsplit

import pytest

from support.api_services import FakeGenerator, make_services
from support.servers import serve
from tidegate.api.app import create_app
from tidegate.generation.request import AttemptStarted


async def ask(url: str, *, stream: bool) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Sends a request to generate, and leaves the connection open."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    body = json.dumps({"prompt": "Ship an order", "stream": stream})
    writer.write(
        f"POST /api/workflows/generate HTTP/1.1\r\nhost: {address.netloc}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}".encode()
    )
    return reader, writer


@pytest.mark.parametrize("stream", [False, True])
def test_the_work_stops_when_the_connection_closes(*, stream: bool) -> None:
    services = make_services()
    generator = cast("FakeGenerator", services.ai_client)
    generator.seconds = 3600

    async def run() -> None:
        async with serve(create_app(services)) as url, asyncio.timeout(10):
            _, writer = await ask(url, stream=stream)
            await generator.started.wait()
            writer.close()
            await writer.wait_closed()
            await generator.stopped.wait()

    asyncio.run(run())
    assert generator.cancelled == 1


def test_events_arrive_while_the_work_goes_on() -> None:
    services = make_services()
    generator = cast("FakeGenerator", services.ai_client)
    generator.progress = [AttemptStarted(1, "claude-sonnet-5-5")]
    generator.seconds = 3600

    async def run() -> None:
        async with serve(create_app(services)) as url, asyncio.timeout(10):
            reader, writer = await ask(url, stream=True)
            assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
            assert b"event: attempt\n" in await reader.readuntil(b"\n\n")
            writer.close()
            await writer.wait_closed()

    asyncio.run(run())
