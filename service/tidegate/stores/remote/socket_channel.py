"""A channel over a stream socket between two processes of one machine."""

import asyncio
from collections.abc import Callable
from typing import Final, cast

import msgspec

from tidegate.stores.remote.messages import Message, decode_message, encode_message

__all__ = ["LENGTH_BYTES", "SocketChannel"]

LENGTH_BYTES: Final = 4
"""Before each message: its length, big-endian."""


class SocketChannel(asyncio.Protocol):
    """Carries messages over a connection. It loses none while the connection lasts, and keeps their order."""

    def __init__(self) -> None:
        self._receive: Callable[[Message], None]
        self._lost: Callable[[], None]
        self._transport: asyncio.WriteTransport | None = None
        self._received = bytearray()

    def listen(self, receive: Callable[[Message], None], lost: Callable[[], None]) -> None:
        """Sets what is called with each message, and once at the end of the connection. Before it is connected."""
        self._receive = receive
        self._lost = lost

    def send(self, message: Message) -> None:
        """As `Channel.send`."""
        if self._transport is not None:
            data = encode_message(message)
            self._transport.write(len(data).to_bytes(LENGTH_BYTES) + data)

    def close(self) -> None:
        """Ends the connection after what was sent."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes arrived. A message that cannot be read ends the connection."""
        received = self._received
        received += data
        start = 0
        while len(received) >= start + LENGTH_BYTES:
            end = start + LENGTH_BYTES + int.from_bytes(received[start : start + LENGTH_BYTES])
            if len(received) < end:
                break
            try:
                message = decode_message(bytes(received[start + LENGTH_BYTES : end]))
            except msgspec.DecodeError:
                self.close()
                return
            start = end
            self._receive(message)
        del received[:start]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the event loop's signature
        """The connection is gone."""
        self._transport = None
        self._lost()
