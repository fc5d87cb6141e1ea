"""One answer of the upstream, from its first byte to its last."""

import asyncio
from collections.abc import AsyncIterator, Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import httptools

from tidegate.core.domain.errors import UpstreamUnreachable
from tidegate.http.client.head_repair import is_repairable, repaired

if TYPE_CHECKING:
    from tidegate.core.ports.transport import Fields, Headers

__all__ = ["Answer", "lost"]

_HIGH_WATER_BYTES: Final = 256 * 1024
"""When this much waits for its reader, no more is read from the socket until the reader has taken it."""
_MAX_FRAMING_BYTES: Final = 256 * 1024
"""More than any sane head, informational ones included, and than any sane trailer section: neither may be endless."""
_FRAMING_PER_CHUNK_BYTES: Final = 16
_FRAMING_PER_BYTE: Final = 2
"""What may frame a body of many small chunks, so that none of it counts as excessive. Go's client allows as much."""


def lost(reason: str, *, may_have_been_accepted: bool) -> UpstreamUnreachable:
    """The error for an exchange that broke."""
    return UpstreamUnreachable(
        f"no response from the upstream: {reason}", may_have_been_accepted=may_have_been_accepted
    )


class Answer:
    """Parses what the connection feeds it on one side, and is read as a `TransportResponse` on the other.

    Args:
        pause: stops reading from the socket.
        resume: goes on reading.
        release: called once when the exchange is over.
        expect: has `overdue_seconds` asked for at that time of the event loop, or earlier.
        bodiless: the answer has no body whatever its head says (`HEAD`).
        idle_timeout_seconds: how long a reader waits for further bytes of the body.
    """

    __slots__ = (
        "_asked_ns",
        "_bodiless",
        "_buffered_bytes",
        "_chunks",
        "_closed",
        "_continue",
        "_deadline",
        "_ends_with_connection",
        "_error",
        "_expect",
        "_framing_bytes",
        "_has_head",
        "_idle_timeout_seconds",
        "_is_odd",
        "_keep_alive",
        "_loop",
        "_parser",
        "_pause",
        "_paused",
        "_received_head",
        "_release",
        "_surplus",
        "_taken",
        "_timeout_seconds",
        "_waiter",
        "complete",
        "fields",
        "headers",
        "sending",
        "started",
        "status",
        "waited_ns",
    )

    def __init__(
        self,
        *,
        pause: Callable[[], None],
        resume: Callable[[], None],
        release: Callable[[], None],
        expect: Callable[[float], None],
        loop: asyncio.AbstractEventLoop,
        bodiless: bool,
        idle_timeout_seconds: float,
    ) -> None:
        self.status = 0
        self.waited_ns = 0
        self.headers: Headers = ()
        self.fields: Fields = {}
        self.started = False
        """Whether any byte has come."""
        self.complete = False
        self.sending = False
        """Whether the request is still being sent: no answer is due before that."""
        self._parser = httptools.HttpResponseParser(self)
        self._pause = pause
        self._continue = resume
        self._release = release
        self._expect = expect
        self._loop = loop
        self._bodiless = bodiless
        self._idle_timeout_seconds = idle_timeout_seconds
        self._taken: list[tuple[bytes, bytes]] = []
        self._received_head: list[bytes] = []
        self._is_odd = False  # the parser has refused the head
        self._framing_bytes = 0
        self._has_head = False
        self._ends_with_connection = False
        self._chunks: list[bytes] = []
        self._buffered_bytes = 0
        self._paused = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._asked_ns = 0
        self._deadline = 0.0
        self._timeout_seconds = 0.0
        self._keep_alive = False
        self._surplus = False
        self._closed = False

    # The connection's side.

    def feed(self, data: bytes) -> None:
        """Takes bytes from the socket.

        Raises:
            ValueError: they are not an answer to one request.
        """
        self.started = True
        self._framing_bytes += len(data)
        if self._has_head:
            self._parse(data)
        else:
            self._feed_head(data)
        if self._framing_bytes > _MAX_FRAMING_BYTES:
            raise ValueError(f"more than {_MAX_FRAMING_BYTES} bytes of trailers or chunk extensions")

    def _feed_head(self, data: bytes) -> None:
        if self._framing_bytes > _MAX_FRAMING_BYTES:
            raise ValueError(f"a head above {_MAX_FRAMING_BYTES} bytes")
        self._received_head.append(data)
        if not self._is_odd:
            try:
                self._parse(data)
            except ValueError as error:
                if self._has_head or error.__cause__ is None or not is_repairable(error.__cause__):
                    raise
                self._is_odd = True
        if self._is_odd and (answer := repaired(b"".join(self._received_head))) is not None:
            self._parser = httptools.HttpResponseParser(self)
            self._taken = []
            self._parse(answer)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            reason = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else error
            raise ValueError(f"not HTTP/1.1: {reason}") from error

    def keeps_alive(self) -> bool:
        """Whether the answer leaves its connection fit for another exchange."""
        return self.complete and not self._surplus and self._keep_alive

    def on_message_begin(self) -> None:
        """Parser: an answer begins; one more after the complete one belongs to nobody."""
        self._surplus = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: a header field, or a trailer field, which is dropped (clients of HTTP/1.1 expect none)."""
        if not self._has_head:
            self._taken.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Parser: the head is there. Informational ones (1xx) are skipped: the real one follows."""
        status = self._parser.get_status_code()
        if status < 100 or status == 101:
            raise ValueError("not the status of an answer")  # the parser reports it as an error of its own
        if status < 200:
            self._taken = []
        elif not self._has_head:
            self.status, self._has_head = status, True
            self.headers, self._taken = self._taken, []
            self._received_head.clear()
            self._framing_bytes = 0
            fields = self.fields = dict(self.headers)
            if b"content-length" not in fields:
                last_coding = fields.get(b"transfer-encoding", b"").lower().rpartition(b",")[2].strip()
                self._ends_with_connection = last_coding != b"chunked"
            # Asked here, because the parser forgets the head's framing at the end of the message.
            # Whoever sends a head that has to be put right may mean something else by its `connection`, too.
            self._keep_alive = not self._is_odd and self._parser.should_keep_alive()
            self.complete = self._bodiless
            if self._waiter is not None:
                self._wake(self._waiter)

    def on_body(self, data: bytes) -> None:
        """Parser: some bytes of the body."""
        if self.complete:
            return
        self._chunks.append(data)
        size_bytes = len(data)
        if self._framing_bytes:
            allowed_bytes = (1 + _FRAMING_PER_BYTE) * size_bytes + _FRAMING_PER_CHUNK_BYTES
            self._framing_bytes = max(0, self._framing_bytes - allowed_bytes)
        self._buffered_bytes += size_bytes
        if self._buffered_bytes > _HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._pause()
        if self._waiter is not None:
            self._wake(self._waiter)

    def on_message_complete(self) -> None:
        """Parser: the end of an answer, as its framing says."""
        if self._has_head:
            self.complete = True
            if self._waiter is not None:
                self._wake(self._waiter)

    def connection_ended(self, reason: str, *, may_have_been_accepted: bool, cleanly: bool) -> None:
        """No more bytes will come. A clean end completes a body that nothing else delimits; any other is an error."""
        if cleanly and self._has_head and self._ends_with_connection:
            self.on_message_complete()
        else:
            self.fail(lost(reason, may_have_been_accepted=may_have_been_accepted))

    def fail(self, error: Exception) -> None:
        """Breaks the exchange, unless it is complete or broken: the reader gets what has come, then this error."""
        if not self.complete and self._error is None:
            self._error = error
            if self._waiter is not None:
                self._wake(self._waiter)

    # The reader's side.

    def head(self, timeout_seconds: float) -> asyncio.Future[None]:
        """Is done when status and headers are there, or the exchange is broken: see `check`."""
        waiter = self._wait(timeout_seconds)
        if self._has_head or self._error is not None:
            self._wake(waiter)
        return waiter

    def check(self) -> None:
        """Raises what broke the exchange before its head was there."""
        if not self._has_head and self._error is not None:
            raise self._error

    def whole(self) -> bytes | None:
        """The body of an answer that is complete; see `TransportResponse`."""
        if not self.complete or self._error is not None or self._closed:
            return None
        body = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._close()
        return body

    @property
    def at_end(self) -> bool:
        """Whether nothing is left to read; see `TransportResponse`."""
        return self.complete and not self._chunks and self._error is None

    def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; see `TransportResponse`."""
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        # No async generator: one that is dropped half-read has to be closed by a task of its own.
        while not self._chunks:
            if self._error is not None:
                raise self._error
            if self.complete:
                raise StopAsyncIteration
            try:
                await self._wait(self._idle_timeout_seconds)
            finally:
                self._waiter = None
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered_bytes = 0
        if self._paused:
            self._resume()
        return data

    async def aclose(self) -> None:
        """Ends the exchange; see `TransportResponse`."""
        if not self._closed:
            self._close()

    def _close(self) -> None:
        self._closed = True
        self._waiter = None
        if self._paused:
            self._resume()
        self._release()
        # Parser and answer hold each other: left to the collector, thousands of them make it stop the event loop.
        del self._parser

    def _resume(self) -> None:
        self._paused = False
        self._continue()

    def overdue_seconds(self) -> float | None:
        """How much longer the reader may wait; None where nobody does. Too long a wait breaks the exchange."""
        if self._waiter is None:
            return None
        left_seconds = self._timeout_seconds if self.sending else self._deadline - self._loop.time()
        if left_seconds > 0:
            return left_seconds
        self.fail(lost(f"nothing came for {self._timeout_seconds:g} s", may_have_been_accepted=True))
        return None

    def _wait(self, timeout_seconds: float) -> asyncio.Future[None]:
        waiter = self._waiter = self._loop.create_future()
        self._asked_ns = monotonic_ns()
        self._timeout_seconds = timeout_seconds
        self._deadline = self._loop.time() + timeout_seconds
        self._expect(self._deadline)
        return waiter

    def _wake(self, waiter: asyncio.Future[None]) -> None:
        self._waiter = None
        if not waiter.done():
            self.waited_ns += monotonic_ns() - self._asked_ns
            waiter.set_result(None)
