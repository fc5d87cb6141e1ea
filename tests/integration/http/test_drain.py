"""A server ends its calls before it stops: over real sockets, with times of parts of a second."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import pytest

from tidegate.http.server.listener import bind
from tidegate.http.server.server import HttpServer, serving

REQUEST = b"GET /%b HTTP/1.1\r\nhost: localhost\r\n\r\n"


async def connect(address: tuple[str, int]) -> "Client":
    return Client(*await asyncio.open_connection(*address))


class Application:
    """Answers `/` at once and `/slow` when told to; notes which calls were cancelled."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.begun = asyncio.Event()
        self.cancelled = 0

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        if scope["path"] == "/slow":
            self.begun.set()
            try:
                await self.goes_on.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.writer.close()
        await self.writer.wait_closed()

    def ask(self, path: bytes = b"") -> None:
        self.writer.write(REQUEST % path)

    async def head(self) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        assert await self.reader.readexactly(2) == b"ok"
        return head.lower()

    async def is_closed(self) -> bool:
        return await self.reader.read() == b""


@asynccontextmanager
async def served() -> AsyncIterator[tuple[HttpServer, Application, tuple[str, int]]]:
    app = Application()
    with bind("127.0.0.1", 0, "--host", "--port") as listener:
        server, address = HttpServer(app, listener), listener.getsockname()
        async with asyncio.timeout(10), serving(server):
            yield server, app, address


def test_during_the_notice_calls_are_accepted_and_their_connections_end() -> None:
    async def main() -> None:
        async with served() as (server, _, address), await connect(address) as before:
            before.ask()
            assert b"connection: close" not in await before.head()
            draining = asyncio.create_task(server.drain(notice_seconds=0.3, drain_seconds=5))
            await asyncio.sleep(0.05)
            async with await connect(address) as new:
                for client in (new, before):
                    client.ask()
                    assert b"connection: close" in await client.head()
                    assert await client.is_closed()
            await draining

    asyncio.run(main())


def test_after_the_notice_connections_are_refused_and_open_calls_end() -> None:
    async def main() -> None:
        async with (
            served() as (server, app, address),
            await connect(address) as slow,
            await connect(address) as idle,
        ):
            slow.ask(b"slow")
            await app.begun.wait()
            draining = asyncio.create_task(server.drain(notice_seconds=0, drain_seconds=5))
            await asyncio.sleep(0.1)
            with pytest.raises(ConnectionRefusedError):
                await connect(address)
            idle.ask()  # an idle connection is served until the end
            assert b"connection: close" in await idle.head()
            assert not draining.done()
            app.goes_on.set()
            assert b"connection: close" in await slow.head()
            await draining
            assert not app.cancelled

    asyncio.run(main())


async def drain_and_stop(server: HttpServer) -> None:
    await server.drain(notice_seconds=0, drain_seconds=5)
    server.should_exit = True


def test_a_client_that_has_just_connected_gets_an_answer() -> None:
    async def main() -> None:
        async with served() as (server, _, address), await connect(address) as new:
            await asyncio.sleep(0.01)  # the server has accepted
            stopping = asyncio.create_task(drain_and_stop(server))
            await asyncio.sleep(0.3)
            new.ask()
            assert b"connection: close" in await new.head()
            await stopping

    asyncio.run(main())


def test_a_client_that_sends_no_request_delays_the_stop_by_a_second_at_most() -> None:
    async def main() -> None:
        async with served() as (server, _, address), await connect(address):
            await asyncio.sleep(0.01)
            began = asyncio.get_running_loop().time()
            await server.drain(notice_seconds=0, drain_seconds=5)
            assert 0.9 < asyncio.get_running_loop().time() - began < 3

    asyncio.run(main())


def test_calls_that_outlast_the_drain_are_cancelled() -> None:
    async def main() -> None:
        async with served() as (server, app, address), await connect(address) as slow:
            slow.ask(b"slow")
            await app.begun.wait()
            await server.drain(notice_seconds=0, drain_seconds=0.1)
            await slow.head()  # what the application says to that
            assert app.cancelled == 1

    asyncio.run(main())


def test_stopping_now_shortens_notice_and_drain() -> None:
    async def main() -> None:
        async with served() as (server, app, address), await connect(address) as slow:
            slow.ask(b"slow")
            await app.begun.wait()
            draining = asyncio.create_task(server.drain(notice_seconds=100, drain_seconds=100))
            await asyncio.sleep(0.05)
            server.stop_now()
            await draining
            assert app.cancelled == 1

    asyncio.run(main())


def test_idle_connections_are_waited_for_if_wanted() -> None:
    async def main() -> None:
        async with served() as (server, _, address), await connect(address) as idle:
            idle.ask()
            await idle.head()
            draining = asyncio.create_task(server.drain(notice_seconds=0, drain_seconds=5, awaits_idle=True))
            await asyncio.sleep(0.3)
            assert not draining.done()
            idle.ask()
            assert b"connection: close" in await idle.head()
            assert await idle.is_closed()
            await draining

    asyncio.run(main())


def test_idle_connections_do_not_outlast_a_second_signal() -> None:
    async def main() -> None:
        async with served() as (server, _, address), await connect(address) as idle:
            idle.ask()
            await idle.head()
            draining = asyncio.create_task(server.drain(notice_seconds=0, drain_seconds=100, awaits_idle=True))
            await asyncio.sleep(0.05)
            server.stop_now()
            await draining

    asyncio.run(main())
