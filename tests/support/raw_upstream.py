"""An upstream that sends exactly the bytes of a script, and breaks off where the script says."""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Script = Callable[["Exchange"], Awaitable[None]]


class Exchange:
    """One connection of a script."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer

    async def request(self) -> tuple[bytes, bytes]:
        """Head and body of the next request; the body by its content-length, or with its chunks."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return head, await self.reader.readexactly(int(line.split(b":")[1]))
            if line == b"transfer-encoding: chunked":
                return head, await self.reader.readuntil(b"0\r\n\r\n")
        return head, b""

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def reset(self) -> None:
        """Closes with RST, because a linger time of 0 s drops unsent bytes."""
        linger_for_no_time = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_for_no_time)
        self.writer.transport.abort()


async def says_nothing(exchange: Exchange) -> None:
    """Reads until the client closes the connection."""
    await exchange.reader.read()


def chunk(data: bytes) -> bytes:
    """A chunk of a body with `transfer-encoding: chunked`."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class RawUpstream:
    """Attributes: url; connections: number of connections; left: set when a client has closed its connection."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._server: asyncio.Server | None = None
        self._port = 0
        self.url = ""
        self.connections = 0
        self.left = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def listen(self, tls: ssl.SSLContext | None = None) -> None:
        """Listens from now on, always on the same port."""
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", self._port, ssl=tls)
        self._port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def refuse(self) -> None:
        """Stops listening: connections are refused."""
        assert self._server is not None
        self._server.close()

    def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.tasks.append(asyncio.create_task(self._run(reader, writer)))

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._script(Exchange(self.connections, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError):
            self.left.set()
        finally:
            writer.close()


@asynccontextmanager
async def raw_upstream(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawUpstream]:
    """Runs the script for each connection. It may serve several requests; the connection closes when it returns."""
    upstream = RawUpstream(script)
    await upstream.listen(tls)
    try:
        yield upstream
    finally:
        await upstream.refuse()
        for task in upstream.tasks:
            task.cancel()
        await asyncio.gather(*upstream.tasks, return_exceptions=True)
