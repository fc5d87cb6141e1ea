"""The running process: hands the service over to a new process that asks for it."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec

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
from tidegate.cli.hand_over.saved_state import StateSaver
from tidegate.cli.hand_over.shared_hand_over import SharedHandOver
from tidegate.cli.hand_over.store_hand_over import StoreHandOver
from tidegate.stores.remote.socket_channel import LENGTH_BYTES, SocketChannel
from tidegate.stores.state_folder import StateFolder

__all__ = ["LOCK", "HandOver"]

logger = logging.getLogger("tidegate.hand_over")

LOCK = "lock"
"""The name of the descriptor of the state folder's lock, beside those of listening sockets."""


class HandOver:
    """Waits for a new process on a socket in the state folder, and hands the service over to it.

    Args:
        folder: the locked state folder.
        saver: dumps the state.
        store: hands the pools over.
        sockets: the listening sockets by name.

    Attributes:
        done: has a result once another process has taken over.
    """

    def __init__(
        self,
        folder: StateFolder,
        saver: StateSaver,
        store: StoreHandOver | SharedHandOver,
        sockets: Mapping[str, socket.socket],
    ) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._folder = folder
        self._saver = saver
        self._store = store
        self._sockets = dict(sockets)

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Answers new processes of the same user while the block runs."""
        with contextlib.closing(_listen(self._folder.path)) as listener:
            accepting = asyncio.create_task(self._accept(listener))
            try:
                yield
            finally:
                accepting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await accepting

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while not self.done.done():
            connection, _ = await loop.sock_accept(listener)
            connection.settimeout(0)
            try:
                await self._serve(connection)
            except BaseException as error:
                connection.close()
                if not isinstance(error, Exception):
                    raise
                expected = isinstance(error, OSError | EOFError | msgspec.DecodeError)
                reason = str(error) or "no answer"
                logger.warning(
                    "another process asked to take over, and failed: %s; this one goes on",
                    reason,
                    exc_info=not expected,
                )

    async def _serve(self, connection: socket.socket) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            request = decode(await _read(connection))
        if not isinstance(request, Request):
            raise msgspec.DecodeError("it sent no request")
        if request.protocol != PROTOCOL_VERSION:
            reason = (
                f"Tidegate {request.program} hands over by version {request.protocol} of the protocol,"
                f" and the running process by version {PROTOCOL_VERSION}"
            )
            await asyncio.get_running_loop().sock_sendall(connection, frame(Declined(reason)))
            raise msgspec.DecodeError(reason)
        await self._saver.pause()
        try:
            await self._send(connection, *self._offered())
            async with asyncio.timeout(ANSWER_SECONDS):
                _require_taken(decode(await _read(connection)))
        except BaseException:
            self._store.abort()
            self._saver.resume()
            raise
        logger.info("process %d has taken over; this one ends with its last call", request.pid)
        self._folder.release()
        channel = SocketChannel()
        channel.listen(self._store.receive, self._store.lost)
        await asyncio.get_running_loop().create_unix_connection(lambda: channel, sock=connection)
        self._store.commit(channel)
        self.done.set_result(None)

    def _offered(self) -> tuple[Offer, list[int]]:
        """Begins the hand-over. Returns everything that this process has, and its descriptors."""
        descriptors = {LOCK: self._folder.lock, **{name: each.fileno() for name, each in self._sockets.items()}}
        state = self._saver.dump(is_final=True, store=self._store.begin())
        return Offer(os.getpid(), tuple(descriptors), self._store.folded, state), list(descriptors.values())

    async def _send(self, connection: socket.socket, offer: Offer, descriptors: list[int]) -> None:
        socket.send_fds(connection, [MARK], descriptors)
        async with asyncio.timeout(ANSWER_SECONDS):
            await asyncio.get_running_loop().sock_sendall(connection, frame(offer))


def _listen(folder: Path) -> socket.socket:
    """A listening socket in the folder, in place of one that another process has left there or hands over."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.settimeout(0)
    new = f"{SOCKET_NAME}.new"
    (folder / new).unlink(missing_ok=True)
    with short_path(folder, new) as path:
        mask = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
    listener.listen()
    (folder / new).replace(folder / SOCKET_NAME)
    return listener


def _require_taken(message: object) -> None:
    if not isinstance(message, Taken):
        raise msgspec.DecodeError("it did not confirm")


async def _read(connection: socket.socket) -> bytes:
    """The next message.

    Raises:
        EOFError: the connection ended.
    """
    length = int.from_bytes(await _read_exactly(connection, LENGTH_BYTES))
    return await _read_exactly(connection, length)


async def _read_exactly(connection: socket.socket, size: int) -> bytes:
    loop, data = asyncio.get_running_loop(), b""
    while len(data) < size:
        received = await loop.sock_recv(connection, size - len(data))
        if not received:
            raise EOFError("it ended the connection")
        data += received
    return data
