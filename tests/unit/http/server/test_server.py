"""Listening sockets, their URLs, and the notice of a disconnect."""

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from tidegate.http.asgi import EXCHANGE
from tidegate.http.server.listener import bind, url_of
from tidegate.http.server.server import HttpServer, serving

if TYPE_CHECKING:
    import socket


class BoundSocket:
    """A socket that is bound here, whether or not this machine has IPv6."""

    def __init__(self, *address: str | int) -> None:
        self._address = address

    def getsockname(self) -> tuple[str | int, ...]:
        return self._address


@pytest.mark.parametrize(
    ("host", "reached_at"),
    [("127.0.0.1", "http://127.0.0.1"), ("0.0.0.0", "http://127.0.0.1")],  # noqa: S104
)
def test_a_url_leads_to_the_socket_from_this_machine(host: str, reached_at: str) -> None:
    with bind(host, 0, "--host", "--port") as listener:
        assert url_of(listener) == f"{reached_at}:{listener.getsockname()[1]}"


@pytest.mark.parametrize("host", ["::1", "::"])
def test_an_ipv6_address_stands_in_brackets(host: str) -> None:
    assert url_of(cast("socket.socket", BoundSocket(host, 8080, 0, 0))) == "http://[::1]:8080"


def test_the_application_gets_the_disconnect_at_once() -> None:
    asyncio.run(_leave(before_anybody_asks=False))


def test_an_application_that_receives_late_gets_the_disconnect() -> None:
    asyncio.run(_leave(before_anybody_asks=True))


async def _leave(*, before_anybody_asks: bool) -> None:
    begun, left, told = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 - ASGI
        begun.set()
        if before_anybody_asks:
            while (await receive())["type"] != "http.disconnect":
                pass
        on_disconnect = scope["extensions"][EXCHANGE].on_disconnect
        on_disconnect(left.set)
        await left.wait()
        on_disconnect(None)
        told.set()

    with bind("127.0.0.1", 0, "--host", "--port") as listener:
        async with serving(HttpServer(app, listener)):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            async with asyncio.timeout(5):
                await begun.wait()
                writer.close()
                await told.wait()
