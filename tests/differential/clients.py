"""Parses a byte stream with our upstream connection and with aiohttp's."""

import asyncio
from dataclasses import dataclass

import aiohttp
from aiohttp.client_proto import ResponseHandler

from differential.memory_transport import MemoryTransport, feed, settle
from differential.streams import Stream
from tidegate.core.domain.errors import UpstreamUnreachable
from tidegate.core.ports.transport import TransportRequest
from tidegate.http.client.connection import Connection, ConnectionTimeouts
from tidegate.http.write_batching import WriteBatcher

_TIMEOUTS = ConnectionTimeouts(60, 60, 60)
_REQUEST = TransportRequest(b"GET", b"/", [])
_ERRORS = (aiohttp.ClientError, aiohttp.http.HttpProcessingError, RuntimeError)  # RuntimeError: closed while being read


@dataclass
class Got:
    """A response as parsed by a client.

    Attributes:
        status: 0 without a response.
        broken: The response is incomplete or invalid.
        reason: The client's error.
        reusable: The connection may be used again.
    """

    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    broken: bool = False
    reason: str = ""
    reusable: bool = False


class Clients:
    """Parses streams as responses to a GET, one after the other, in the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def ours(self, stream: Stream) -> Got:
        """Parse a stream with our client; the connection closes at its end."""
        reusable: list[bool] = []
        connection = Connection(_TIMEOUTS, WriteBatcher(), lambda _, fit: reusable.append(fit), lambda _: None)
        transport = MemoryTransport(connection, self._loop)
        connection.connection_made(transport)
        answer = connection.start_exchange(b"GET / HTTP/1.1\r\n\r\n", _REQUEST)
        await feed(connection, transport, stream.pieces())
        fit = answer.keeps_alive() and connection.is_open
        _end(connection, transport)
        await settle(transport)
        got = Got()
        try:
            await answer.head(60)
            answer.check()
            got.status, got.headers, got.reusable = answer.status, tuple(answer.headers), fit
            async for chunk in answer.chunks():
                got.body += chunk
        except UpstreamUnreachable as error:
            got.broken, got.reason = True, str(error)
        await answer.aclose()
        return got

    async def aiohttp(self, stream: Stream) -> Got:
        """Parse a stream with aiohttp."""
        handler = ResponseHandler(self._loop)
        transport = MemoryTransport(handler, self._loop)
        handler.connection_made(transport)
        handler.set_response_params(
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=300_000,
            max_field_size=300_000,
            max_headers=100_000,
        )
        got = Got()
        await feed(handler, transport, stream.pieces())
        fit = not transport.is_closing()
        _end(handler, transport)
        await settle(transport)
        try:
            head, payload = await handler.read()
            while 100 <= head.code < 200 and head.code != 101:
                head, payload = await handler.read()
            got.status, got.reusable = head.code, fit and not head.should_close
            got.headers = tuple((bytes(name).lower(), bytes(value)) for name, value in head.raw_headers)
            while not payload.at_eof():
                got.body += await payload.readany()
        except _ERRORS as error:
            got.broken, got.reason = True, repr(error)
        handler.close()
        return got


def _end(protocol: asyncio.Protocol, transport: MemoryTransport) -> None:
    if not transport.is_closing():
        protocol.eof_received()
        transport.close()
