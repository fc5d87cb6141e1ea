"""A TCP proxy in front of a server that delays what passes, or lets nothing pass."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["Link", "linked"]


class Link:
    """The way of one replica to the store.

    Attributes:
        port: where the replica connects.
        delay_seconds: each way.
        is_cut: whether nothing passes; connections stay open, as in a partition.
    """

    def __init__(self, to_port: int) -> None:
        self.port = 0
        self.delay_seconds = 0.0
        self._to_port = to_port
        self._connections: set[asyncio.Task[None]] = set()
        self._passes = asyncio.Event()
        self._passes.set()

    @property
    def is_cut(self) -> bool:
        return not self._passes.is_set()

    @is_cut.setter
    def is_cut(self, is_cut: bool) -> None:
        if is_cut:
            self._passes.clear()
        else:
            self._passes.set()

    async def close(self) -> None:
        """Ends all connections."""
        connections = [*self._connections]
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Passes on the bytes of a connection until it ends."""
        connection = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._passes.wait()
            there = await asyncio.open_connection("127.0.0.1", self._to_port)
        except OSError:
            writer.close()
            return
        async with asyncio.TaskGroup() as ways:
            ways.create_task(self._pass_on(reader, there[1]))
            ways.create_task(self._pass_on(there[0], writer))

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Passes on what comes, each part after the delay, as many at a time as come."""
        loop = asyncio.get_running_loop()
        parts: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def send() -> None:
            while True:
                due, data = await parts.get()
                await asyncio.sleep(due - loop.time())
                await self._passes.wait()
                if not data:
                    return
                sink.write(data)
                await sink.drain()

        sending = asyncio.create_task(send())
        try:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65_536):
                    parts.put_nowait((loop.time() + self.delay_seconds, data))
            parts.put_nowait((loop.time(), b""))
            with contextlib.suppress(ConnectionError):
                await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            sink.close()


@asynccontextmanager
async def linked(to_port: int) -> AsyncIterator[Link]:
    """A link to a port of this machine while the block runs."""
    link = Link(to_port)
    listener = await asyncio.start_server(link.accept, "127.0.0.1", 0)
    link.port = listener.sockets[0].getsockname()[1]
    try:
        yield link
    finally:
        listener.close()
        await link.close()
