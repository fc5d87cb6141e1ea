"""The new process: takes the service over from the running one."""

import asyncio
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec

from tidegate import __version__
from tidegate.cli.hand_over.protocol import (
    ANSWER_SECONDS,
    MARK,
    PROTOCOL_VERSION,
    SOCKET_NAME,
    Declined,
    Offer,
    Request,
    Taken,
    decode,
    frame,
    short_path,
)
from tidegate.core.domain.errors import TidegateError
from tidegate.stores.remote.leader import Leader
from tidegate.stores.remote.socket_channel import LENGTH_BYTES, SocketChannel

__all__ = ["Predecessor", "TakeOverFailed", "Taking"]

_MOST_SOCKETS = 16


class TakeOverFailed(TidegateError):
    """The running process did not hand over. It goes on."""


@dataclass
class Taking:
    """The sockets, the lock and the state that the running process has handed over.

    Attributes:
        offer: its state.
        sockets: descriptors by name: of listening sockets, and of the state folder's lock.
    """

    offer: Offer
    sockets: dict[str, int]

    def take(self, name: str) -> int | None:
        """A descriptor, which the caller closes; None if there is none of that name."""
        return self.sockets.pop(name, None)

    def close(self) -> None:
        """Closes the descriptors that nobody has taken."""
        while self.sockets:
            os.close(self.sockets.popitem()[1])


class Predecessor:
    """The running process, as seen by the new one. To be closed.

    Args:
        connection: to the running process.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @classmethod
    def find(cls, folder: Path) -> Self | None:
        """The process that uses a state folder; None if there is none."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_SECONDS)
        try:
            with short_path(folder, SOCKET_NAME) as path:
                connection.connect(path)
        except (FileNotFoundError, ConnectionRefusedError):  # no process, or one that ended and left its socket
            connection.close()
            return None
        return cls(connection)

    async def ask(self) -> Taking:
        """Asks for everything. From now on the running process admits no call until `confirm` or `close`.

        Raises:
            TakeOverFailed: it declined, ended or did not answer.
        """
        return await asyncio.to_thread(self._ask)

    def _ask(self) -> Taking:
        connection = self._connection
        try:
            connection.sendall(frame(Request(PROTOCOL_VERSION, __version__, os.getpid())))
            head, descriptors, _, _ = socket.recv_fds(connection, 1, _MOST_SOCKETS)
            rest = b"" if head == MARK else head
            length = int.from_bytes(rest + self._read(LENGTH_BYTES - len(rest)))
            answer = decode(self._read(length))
        except (OSError, EOFError, msgspec.DecodeError) as error:
            raise TakeOverFailed(f"the running process did not hand over: {error}") from error
        if isinstance(answer, Declined):
            raise TakeOverFailed(f"the running process does not hand over: {answer.reason}")
        if not isinstance(answer, Offer):
            raise TakeOverFailed("the running process sent no offer")
        return Taking(answer, dict(zip(answer.sockets, descriptors, strict=True)))

    def confirm(self) -> None:
        """Confirms to the running process that this one serves from now on. Nothing may fail after that.

        Raises:
            TakeOverFailed: the running process has given up waiting, and goes on.
        """
        try:
            self._connection.sendall(frame(Taken()))
        except OSError as error:
            raise TakeOverFailed(f"the running process goes on: {error.strerror}") from error

    async def lead(self, leader: Leader, folded: Mapping[str, int]) -> None:
        """Serves the calls of the process that has handed over, until it ends."""
        channel = SocketChannel()
        session = leader.connect(channel, folded)
        channel.listen(session.receive, session.lost)
        connection = self._connection.dup()  # which the event loop owns
        self._connection.close()
        connection.settimeout(0)
        await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=connection)

    def close(self) -> None:
        """Ends the connection. If it was not confirmed, the running process goes on."""
        self._connection.close()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            received = self._connection.recv(size - len(data))
            if not received:
                raise EOFError("it ended the connection")
            data += received
        return data
