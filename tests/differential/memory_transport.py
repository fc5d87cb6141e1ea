"""A transport without a socket, which keeps what is written."""

import asyncio
from typing import Any

_ADDRESSES = {"peername": ("127.0.0.1", 50_000), "sockname": ("127.0.0.1", 80)}
_QUIET_TURNS = 4


class MemoryTransport(asyncio.Transport):
    """Replaces a socket transport for a protocol that is fed by hand."""

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
        """No buffer."""


async def settle(transport: MemoryTransport) -> None:
    """Run the event loop until a transport is quiet for a few iterations."""
    quiet, before = 0, None
    while quiet < _QUIET_TURNS:
        await asyncio.sleep(0)
        now = len(transport.written), transport.is_paused, transport.is_closing()
        quiet, before = (quiet + 1 if now == before else 0), now


async def feed(protocol: asyncio.Protocol, transport: MemoryTransport, pieces: list[bytes]) -> None:
    """Feed the pieces to a protocol like an event loop: not while reading is paused, and not when it is closing."""
    for piece in pieces:
        if transport.is_paused or transport.is_closing():
            return
        protocol.data_received(piece)
        await settle(transport)


async def hang_up(protocol: asyncio.Protocol, transport: MemoryTransport) -> None:
    """Close the connection from the other side."""
    if not transport.is_closing():
        protocol.eof_received()
        transport.close()
    await settle(transport)
