"""The messages of two processes when one takes over from the other, over a Unix socket in the state folder.

1. The new process is ready to serve. It connects and sends `Request`.
2. The old process sends `Offer`: its state with all waiting requests and leases, and with it, by SCM_RIGHTS, its
   listening sockets and the lock of the state folder. From now on it decides nothing. It holds its steps back.
3. The new process restores the state and sends `Taken`. Only now it serves. The old process accepts no connection any
   more. Both continue on the same connection with the messages of `stores.remote`: the old process is a follower.

If the connection ends before `Taken`, the old process goes on as if nothing had happened. A process that cannot hand
over replies with `Declined`.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from tidegate.stores.remote.socket_channel import LENGTH_BYTES

__all__ = [
    "ANSWER_SECONDS",
    "MARK",
    "PROTOCOL_VERSION",
    "SOCKET_NAME",
    "Declined",
    "Offer",
    "Request",
    "Taken",
    "decode",
    "frame",
    "short_path",
]

PROTOCOL_VERSION: Final = 1
"""Counts changes of this conversation, of the messages of `stores.remote`, and of the state that is handed over."""
SOCKET_NAME: Final = "take-over"
MARK: Final = b"F"
"""The byte before an `Offer` that the descriptors come with. No length begins with it."""
ANSWER_SECONDS: Final = 30.0
"""For each side to answer the other. Both need milliseconds, unless the machine is overloaded."""


class Request(Struct, frozen=True, array_like=True, tag=True):
    """The new process is ready to take over.

    Attributes:
        protocol: its `PROTOCOL_VERSION`.
        program: its version.
        pid: its process id.
    """

    protocol: int
    program: str
    pid: int


class Declined(Struct, frozen=True, array_like=True, tag=True):
    """The old process does not hand over, and goes on. `reason` is for people."""

    reason: str


class Offer(Struct, frozen=True, array_like=True, tag=True):
    """All that the old process has.

    Attributes:
        pid: its process id.
        sockets: the names of the file descriptors that come with it, in their order.
        folded: the processes whose requests wait, or have leases, in the state, each with the number of its last step.
        state: a `SavedState` with live work.
    """

    pid: int
    sockets: tuple[str, ...]
    folded: dict[str, int]
    state: bytes


class Taken(Struct, frozen=True, array_like=True, tag=True):
    """The new process has everything."""


_DECODER: Final[msgspec.msgpack.Decoder[Request | Declined | Offer | Taken]] = msgspec.msgpack.Decoder(
    Request | Declined | Offer | Taken
)


def frame(message: Request | Declined | Offer | Taken) -> bytes:
    """The message as bytes, after its length."""
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(LENGTH_BYTES) + data


def decode(data: bytes) -> Request | Declined | Offer | Taken:
    """The message of these bytes, without its length.

    Raises:
        msgspec.DecodeError: they are no such message.
    """
    return _DECODER.decode(data)


@contextlib.contextmanager
def short_path(folder: Path, name: str) -> Iterator[str]:
    """Yields a path of a file that is short enough for a Unix socket (107 bytes). It is valid while the block runs."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)
