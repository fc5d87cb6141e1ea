"""A process that sends 25 events per second on each connection, and reads what comes back. Prints its port."""

import asyncio
import random
import sys
from contextlib import suppress
from typing import Final

import uvloop

_EVENT: Final = (
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"text":"word"}}\n\n'
)
_PAUSE_SECONDS: Final = 0.04


async def _serve() -> None:
    server = await asyncio.start_server(_send_events, "127.0.0.1", 0, backlog=1_000)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


async def _send_events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reading = asyncio.create_task(_discard(reader))
    await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS))  # noqa: S311 - so that not all streams send at once
    while not reading.done():
        writer.write(_EVENT)
        await asyncio.sleep(_PAUSE_SECONDS)
    writer.close()


async def _discard(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError):  # the leader may end with bytes unread
        while await reader.read(65_536):
            pass


if __name__ == "__main__":
    uvloop.run(_serve())
