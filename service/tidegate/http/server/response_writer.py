"""Writes responses to one client: in batches, and with a limit for clients that do not read."""

import asyncio

from tidegate.http.write_batching import LARGE_BYTES, WriteBatcher

__all__ = ["ResponseWriter"]


class ResponseWriter:
    """Writes to one client, and tracks how long it leaves its response unread.

    Args:
        loop: the event loop.
        write_batcher: decides when to write.
        unread_seconds: the connection is aborted after the client has not read for so long.

    Attributes:
        write_paused: whether the client reads so slowly that nothing more should be written.
    """

    __slots__ = (
        "_batcher",
        "_loop",
        "_paused_at",
        "_transport",
        "_unread_limit_seconds",
        "_unread_seconds",
        "_unread_timer",
        "_unsent",
        "_unsent_bytes",
        "_writable",
        "write_paused",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, write_batcher: WriteBatcher, unread_seconds: float) -> None:
        self.write_paused = False
        self._loop = loop
        self._batcher = write_batcher
        self._transport: asyncio.Transport
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._writable: asyncio.Event | None = None  # exists while writing is paused
        self._unread_timer: asyncio.TimerHandle | None = None
        self._unread_limit_seconds = unread_seconds
        self._paused_at = 0.0
        self._unread_seconds = 0.0  # for the response under way

    def connected(self, transport: asyncio.Transport) -> None:
        """Sets the transport to write to."""
        self._transport = transport

    def write(self, data: bytes) -> None:
        """Writes bytes now or before the event loop's turn ends."""
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if len(self._unsent) == 1:
            self._batcher.put(self.flush, len(data))
        elif self._unsent_bytes > LARGE_BYTES:  # only a write shows whether the client still reads
            self.flush()

    def flush(self) -> None:
        """Writes what has not been written yet."""
        unsent, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if unsent and not self._transport.is_closing():
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    async def drain(self) -> None:
        """Returns when the client has caught up, or is gone."""
        if self._writable is not None:
            await self._writable.wait()

    def begin_response(self) -> None:
        """Counts the unread time from zero."""
        self._unread_seconds = 0.0

    def pause(self, *, in_total: bool) -> None:
        """The transport's buffer is full. If `in_total`, all pauses of a response count towards its unread time."""
        self.write_paused = True
        self._writable = self._writable or asyncio.Event()
        self._paused_at = self._loop.time()
        left_seconds = max(0.0, self._unread_limit_seconds - (self._unread_seconds if in_total else 0.0))
        self._unread_timer = self._loop.call_later(left_seconds, self._transport.abort)

    def resume(self) -> None:
        """The client has caught up."""
        self._end_pause()
        self.write_paused = False

    def close(self) -> None:
        """Drops what has not been written: the connection is gone."""
        self._end_pause()
        self._unsent.clear()

    def _end_pause(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
            self._unread_seconds += self._loop.time() - self._paused_at
