"""A transport without a socket: what is written is kept."""

import asyncio
from collections.abc import Callable
from typing import Any

_ADDRESSES = {"peername": ("127.0.0.1", 50_000), "sockname": ("127.0.0.1", 80)}
_MOST_TURNS = 60


class MemoryTransport(asyncio.Transport):
    """As a socket's transport, for a protocol that is fed by hand."""

    def __init__(self, protocol: asyncio.Protocol, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(_ADDRESSES)
        self.written = bytearray()
        self.ended = False
        self.is_paused = False
        self._protocol = protocol
        self._loop = loop
        self._closing = False

    def write(self, data: Any) -> None:
        if not self.ended:
            self.written += data

    def writelines(self, parts: Any) -> None:
        for part in parts:
            self.write(part)

    def write_eof(self) -> None:
        self.ended = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.ended = True
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False

    def is_reading(self) -> bool:
        return not self.is_paused

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""


async def turns(until: Callable[[], bool], at_least: int = 3) -> None:
    """Lets the event loop turn until a condition holds, at most so often that whatever is to happen has happened."""
    for number in range(_MOST_TURNS):
        await asyncio.sleep(0)
        if number >= at_least and until():
            return


async def feed(
    protocol: asyncio.Protocol, transport: MemoryTransport, pieces: list[bytes], idle: Callable[[], bool]
) -> None:
    """Hands the pieces to a protocol as an event loop does: not while reading is paused, and not once it is closing."""
    for piece in pieces:
        await turns(lambda: not transport.is_paused or transport.is_closing(), 0)
        if transport.is_paused or transport.is_closing():
            return
        protocol.data_received(piece)
        await turns(idle)


async def hang_up(protocol: asyncio.Protocol, transport: MemoryTransport) -> None:
    """The other side closes."""
    if not transport.is_closing():
        protocol.eof_received()
        transport.close()
    await asyncio.sleep(0)
