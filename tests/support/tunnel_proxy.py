"""An HTTP proxy with CONNECT tunnels, as a script of a raw upstream."""

import asyncio
import contextlib
from urllib.parse import urlsplit

from support.raw_upstream import Exchange


class TunnelProxy:
    """Opens tunnels, and records the requests for them."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []

    async def __call__(self, exchange: Exchange) -> None:
        head, _ = await exchange.request()
        self.heads.append(head)
        target = urlsplit("//" + head.split()[1].decode())
        reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
        await exchange.say(b"HTTP/1.1 200 Connection established\r\nvia: 1.1 proxy\r\n\r\n")

        async def pipe(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65_536):
                    sink.write(data)
            sink.close()

        try:
            await asyncio.gather(pipe(exchange.reader, writer), pipe(reader, exchange.writer))
        finally:
            writer.close()
