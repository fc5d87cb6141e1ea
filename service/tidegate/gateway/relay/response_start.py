"""An answer of the upstream, read so far that it is certain whether it will be relayed or the attempt has failed."""

import asyncio
from typing import TYPE_CHECKING, Final

from tidegate.core.domain.errors import UpstreamError, UpstreamUnreachable
from tidegate.core.domain.nanoseconds import to_ns
from tidegate.core.failures.retry_policy import retry_reason
from tidegate.core.ports.clock import Clock
from tidegate.core.ports.transport import TransportResponse
from tidegate.gateway.relay.upstream_errors import upstream_error
from tidegate.gateway.relay.usage_reader import ResponseReader
from tidegate.gateway.relay_limits import RelayLimits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["ResponseStart", "StreamError"]

_MAX_ERROR_BYTES: Final = 1024 * 1024
"""Error bodies are a few hundred bytes; a longer one is treated as no answer."""
_MAX_REST_BYTES: Final = 64 * 1024
_REST_SECONDS: Final = 1.0
"""An error event ends a stream. What comes after it all the same is kept within these bounds."""
_PIECE_BYTES: Final = 1_024
"""More than most events take that come before the first content."""


class StreamError(UpstreamError):
    """A stream reported an error before any content, which another attempt may not meet; `body` is all that came.

    Attributes:
        broken: it broke off after the error event instead of ending.
    """

    broken = False


class ResponseStart:
    """An answer with the chunks that were read already. Must be closed.

    It is to be opened: by `came_whole`, else by `open`. What comes behind the first content is read only when somebody
    asks for it: it can be handed on first.

    Attributes:
        response: the answer, for status and headers.
        first_token_ns: when the first content of a stream came, on the clock that was given; None for other answers.
        is_over: whether it came whole: then there is nothing to close.
    """

    __slots__ = (
        "_clock",
        "_held",
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
        self._held: list[bytes] = []
        self._pending: asyncio.Task[bytes | None] | None = None
        self._limits = limits
        self._waited_ns = 0  # for the latest chunk
        self._idle_ns = 0
        self._progress = 0

    @property
    def reader(self) -> ResponseReader:
        """What has been learned from the bytes so far."""
        if self._unread:
            unread, self._unread = self._unread, []
            for chunk in unread:
                self._reader.feed(chunk)
        return self._reader

    def came_whole(self) -> bool:
        """Takes an answer that has come to its end; False if it has not, or has to be looked at: then `open` it."""
        body = self.response.whole() if self.response.status < 400 else None
        if body is None:
            return False
        self.is_over = True
        if body:
            self._held.append(body)
            self._read(body, None)
        return self._reader.has_content and self._reader.error is None

    async def open(self) -> None:
        """Reads until it is certain that the answer can be relayed; closes it if it cannot.

        Raises:
            StreamError: an error event before any content, of a kind that may be repeated.
            UpstreamError: an error status.
            UpstreamUnreachable: the connection broke before any content.
        """
        try:
            await self._raise_error_status()
            await self._hold()
            await self._raise_early_error()
        except BaseException:
            await self.aclose()
            raise

    async def _raise_error_status(self) -> None:
        response = self.response
        if response.status >= 400:
            body = await _error_body(response)
            raise upstream_error(response.status, response.headers, body, self._clock.wall_seconds())

    async def _hold(self) -> None:
        """Reads until the first content, an error event or the end; at most the hold time beyond `message_start`."""
        until_seconds: float | None = None
        while not self._reader.has_content and self._reader.error is None:
            if until_seconds is None and self._reader.started:
                until_seconds = asyncio.get_running_loop().time() + self._limits.hold_seconds
            chunk = await (self._next() if until_seconds is None else self._next_before(until_seconds))
            if chunk is None:
                return
            self._held.append(chunk)

    async def _raise_early_error(self) -> None:
        error = self._reader.error
        if error is None or self._reader.has_content or retry_reason(error) is None:
            return  # an error that will be the same next time is relayed like everything else
        broken = not await self._hold_rest()
        failure = StreamError(
            str(error), status=200, error_type=error.error_type, headers=self.response.headers, body=self._take_held()
        )
        failure.broken = broken
        raise failure

    async def _hold_rest(self) -> bool:
        """Reads on to the end, within bounds; False if the stream broke."""
        kept_bytes = 0
        try:
            async with asyncio.timeout(_REST_SECONDS):
                while kept_bytes < _MAX_REST_BYTES and (chunk := await self._next()) is not None:
                    self._held.append(chunk)
                    kept_bytes += len(chunk)
        except TimeoutError:
            return True
        except UpstreamUnreachable:
            return False
        return True

    @property
    def at_end(self) -> bool:
        """Whether it is known that nothing is left to hand on."""
        return self.response.at_end and not self._held and self._pending is None

    async def next_chunk(self) -> bytes | None:
        """The next part of the body, what was held at first; None at its end.

        Raises:
            UpstreamUnreachable: as `TransportResponse.chunks`, or no content came for too long.
        """
        if self._held:
            return self._take_held()
        if self._pending is not None:
            chunk = await self._pending
            self._pending = None
            return chunk
        return await self._next()

    def _take_held(self) -> bytes:
        held, self._held = self._held, []
        return held[0] if len(held) == 1 else b"".join(held)

    def whole(self) -> bytes:
        """All of an answer that `is_over`."""
        return self._take_held()

    def forget_head(self) -> None:
        """Header fields are not needed any more: a stream that goes on for minutes need not keep them in memory."""
        self.response.headers, self.response.fields = (), {}

    async def aclose(self) -> None:
        """Ends the exchange; the connection is closed unless the body was read to its end."""
        if self._pending is not None and not self._pending.cancel():
            self._pending.exception()  # looked at, so that asyncio does not complain: nobody is left to tell
        await self.response.aclose()

    async def _next_before(self, until_seconds: float) -> bytes | None:
        """The next chunk; None at the end, or when time is up: then the read goes on and `chunks` takes it over."""
        self._pending = asyncio.create_task(self._next())
        await asyncio.wait({self._pending}, timeout=until_seconds - asyncio.get_running_loop().time())
        if not self._pending.done():
            return None
        pending, self._pending = self._pending, None
        return pending.result()

    async def _next(self) -> bytes | None:
        """The next chunk, read along; None at the end."""
        if self._next_part is None:
            self._next_part = aiter(self.response.chunks()).__anext__
        else:
            self._check_content()
        asked_ns = self._clock.monotonic_ns()
        try:
            chunk = await self._next_part()
        except StopAsyncIteration:
            return None
        came_ns = self._clock.monotonic_ns()
        # Only time that was spent on waiting counts: a client that does not read is no fault of the upstream.
        self._waited_ns = came_ns - asked_ns
        self._read(chunk, came_ns)
        return chunk

    def _check_content(self) -> None:
        """Raises `UpstreamUnreachable` if nothing but signs of life has come for too long."""
        before, self._progress = self._progress, self.reader.progress
        self._idle_ns = self._idle_ns + self._waited_ns if self._progress == before else 0
        self._waited_ns = 0
        if self._idle_ns and self._idle_ns >= to_ns(self._limits.content_idle_seconds):
            raise UpstreamUnreachable(
                f"no content from the upstream for {self._limits.content_idle_seconds:g} s, only signs of life",
                may_have_been_accepted=True,
            )

    def _read(self, chunk: bytes, came_ns: int | None) -> None:
        """Reads along until it is decided how the answer begins. `came_ns` None: it has come just now."""
        reader, start, end = self._reader, 0, len(chunk)
        piece_bytes = _PIECE_BYTES if reader.reads_events else end
        while start < end:
            if reader.has_content or reader.error is not None:
                self._unread.append(chunk[start:])
                return
            reader.feed(chunk[start : start + piece_bytes])
            start += piece_bytes
            piece_bytes *= 2  # a long line would be looked at anew with each
            if reader.started and reader.has_content:
                self.first_token_ns = came_ns or self._clock.monotonic_ns()


async def _error_body(response: TransportResponse) -> bytes:
    body = b""
    async for chunk in response.chunks():
        body += chunk
        if len(body) > _MAX_ERROR_BYTES:
            raise UpstreamUnreachable(
                f"no usable answer from the upstream: an error above {_MAX_ERROR_BYTES} bytes",
                may_have_been_accepted=False,
            )
    return body
