"""Reads the start of a response, until it is certain that it can be relayed or that the attempt has failed."""

import asyncio
from typing import TYPE_CHECKING, Final

from tidegate.core.domain.errors import UpstreamUnreachable
from tidegate.core.domain.nanoseconds import to_ns
from tidegate.core.failures.retry_policy import retry_reason
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.transport import TransportResponse
from tidegate.gateway.relay.upstream_errors import StreamError, read_error_body, upstream_error
from tidegate.gateway.relay.usage_reader import ResponseReader
from tidegate.gateway.relay_limits import RelayLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["ResponseStart"]

_MAX_REST_BYTES: Final = 64 * 1024
_REST_SECONDS: Final = 1.0
"""Bounds of the bytes that are still read after an error event, which should be the last."""
_PIECE_BYTES: Final = 1_024
"""The events before the first content are usually shorter."""


class ResponseStart:
    """A response, with the chunks at its start that were read already. Must be closed, unless `is_over`.

    First call `arrived_whole`, and if that returns False `open`; then take the body by `next_chunk`.

    The reader gets the bytes behind the first content only when it is asked for something: they can be relayed first.

    Args:
        response: the transport's response.
        reader: reads the usage.
        limits: limits of the relay.
        clock: the clock of the call.

    Attributes:
        response: the transport's response, for status and headers.
        first_token_ns: when the first content of a stream arrived, on the monotonic clock; None for other responses.
        is_over: whether the whole response has arrived: then there is nothing to close.
    """

    __slots__ = (
        "_chunks_read",
        "_clock",
        "_idle_ns",
        "_limits",
        "_next_part",
        "_pending",
        "_progress",
        "_reader",
        "_unread",
        "_waited_ns",
        "first_token_ns",
        "is_over",
        "response",
    )

    def __init__(self, response: TransportResponse, reader: ResponseReader, limits: RelayLimits, clock: Clock) -> None:
        self.response = response
        self.first_token_ns: int | None = None
        self.is_over = False
        self._reader = reader
        self._unread: list[bytes] = []
        self._clock = clock
        self._next_part: Callable[[], Awaitable[bytes]] | None = None
        self._chunks_read: list[bytes] = []
        self._pending: asyncio.Task[bytes | None] | None = None
        self._limits = limits
        self._waited_ns = 0  # for the latest chunk
        self._idle_ns = 0
        self._progress = 0

    @property
    def reader(self) -> ResponseReader:
        """The reader, after it has read all bytes so far."""
        if self._unread:
            unread, self._unread = self._unread, []
            for chunk in unread:
                self._reader.feed(chunk)
        return self._reader

    def arrived_whole(self) -> bool:
        """Whether the whole response has arrived and can be relayed. If not, call `open`."""
        body = self.response.whole() if self.response.status < 400 else None
        if body is None:
            return False
        self.is_over = True
        if body:
            self._chunks_read.append(body)
            self._read(body, None)
        return self._reader.has_content and self._reader.error is None

    async def open(self) -> None:
        """Reads until it is certain that the response can be relayed; closes it if it cannot.

        Raises:
            StreamError: an error event before any content, and a retry may succeed.
            UpstreamError: an error status.
            UpstreamUnreachable: the connection broke before any content.
        """
        try:
            await self._raise_error_status()
            await self._read_start()
            await self._raise_early_error()
        except BaseException:
            await self.aclose()
            raise

    async def _raise_error_status(self) -> None:
        response = self.response
        if response.status >= 400:
            body = await read_error_body(response)
            raise upstream_error(response.status, response.headers, body, self._clock.wall_seconds())

    async def _read_start(self) -> None:
        """Reads until the first content, an error event or the end; at most `hold_seconds` after `message_start`."""
        until_seconds: float | None = None
        while not self._reader.has_content and self._reader.error is None:
            if until_seconds is None and self._reader.started:
                until_seconds = asyncio.get_running_loop().time() + self._limits.hold_seconds
            chunk = await (self._next() if until_seconds is None else self._next_before(until_seconds))
            if chunk is None:
                return
            self._chunks_read.append(chunk)

    async def _raise_early_error(self) -> None:
        error = self._reader.error
        if error is None or self._reader.has_content or retry_reason(error) is None:
            return  # a retry would get the same error: it is relayed like content
        broken = not await self._read_rest()
        failure = StreamError(
            str(error), status=200, error_type=error.error_type, headers=self.response.headers, body=self._take_read()
        )
        failure.broken = broken
        raise failure

    async def _read_rest(self) -> bool:
        """Reads to the end of the stream, within bounds; returns False if it broke off."""
        kept_bytes = 0
        try:
            async with asyncio.timeout(_REST_SECONDS):
                while kept_bytes < _MAX_REST_BYTES and (chunk := await self._next()) is not None:
                    self._chunks_read.append(chunk)
                    kept_bytes += len(chunk)
        except TimeoutError:
            return True
        except UpstreamUnreachable:
            return False
        return True

    @property
    def at_end(self) -> bool:
        """Whether it is known that nothing is left to relay."""
        return self.response.at_end and not self._chunks_read and self._pending is None

    async def next_chunk(self) -> bytes | None:
        """The next part of the body, beginning with the chunks read already; None at its end.

        Raises:
            UpstreamUnreachable: as `TransportResponse.chunks`, or no content arrived for too long.
        """
        if self._chunks_read:
            return self._take_read()
        if self._pending is not None:
            chunk = await self._pending
            self._pending = None
            return chunk
        return await self._next()

    def _take_read(self) -> bytes:
        chunks, self._chunks_read = self._chunks_read, []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def whole(self) -> bytes:
        """The body of a response that `is_over`."""
        return self._take_read()

    def forget_head(self) -> None:
        """Frees the header fields, which a stream need not keep in memory for minutes."""
        self.response.headers, self.response.fields = (), {}

    async def aclose(self) -> None:
        """Ends the exchange; the connection is closed unless the body was read to its end."""
        if self._pending is not None and not self._pending.cancel():
            self._pending.exception()  # retrieved, so that asyncio does not report it as lost
        await self.response.aclose()

    async def _next_before(self, until_seconds: float) -> bytes | None:
        """The next chunk; None at the end, or when time is up: then `next_chunk` takes the result of the read."""
        self._pending = asyncio.create_task(self._next())
        await asyncio.wait({self._pending}, timeout=until_seconds - asyncio.get_running_loop().time())
        if not self._pending.done():
            return None
        pending, self._pending = self._pending, None
        return pending.result()

    async def _next(self) -> bytes | None:
        """The next chunk, which the reader gets too; None at the end."""
        if self._next_part is None:
            self._next_part = aiter(self.response.chunks()).__anext__
        else:
            self._check_content()
        asked_ns = self._clock.monotonic_ns()
        try:
            chunk = await self._next_part()
        except StopAsyncIteration:
            return None
        arrived_ns = self._clock.monotonic_ns()
        # Time in which the client does not read does not count: the upstream is not to blame for it.
        self._waited_ns = arrived_ns - asked_ns
        self._read(chunk, arrived_ns)
        return chunk

    def _check_content(self) -> None:
        """Raises `UpstreamUnreachable` if only pings have arrived for too long."""
        before, self._progress = self._progress, self.reader.progress
        self._idle_ns = self._idle_ns + self._waited_ns if self._progress == before else 0
        self._waited_ns = 0
        if self._idle_ns and self._idle_ns >= to_ns(self._limits.content_idle_seconds):
            raise UpstreamUnreachable(
                f"no content from the upstream for {self._limits.content_idle_seconds:g} s, only pings",
                may_have_been_accepted=True,
            )

    def _read(self, chunk: bytes, arrived_ns: int | None) -> None:
        """Lets the reader read until the first content; the rest waits in `_unread`. `arrived_ns` None: just now."""
        reader, start, end = self._reader, 0, len(chunk)
        piece_bytes = _PIECE_BYTES if reader.reads_events else end
        while start < end:
            if reader.has_content or reader.error is not None:
                self._unread.append(chunk[start:])
                return
            reader.feed(chunk[start : start + piece_bytes])
            start += piece_bytes
            piece_bytes *= 2  # a long line is searched again with each piece
            if reader.started and reader.has_content:
                self.first_token_ns = arrived_ns or self._clock.monotonic_ns()
