"""One response of the upstream, from its first byte to its last."""

import asyncio
from collections.abc import AsyncIterator, Callable
from time import monotonic_ns
from typing import TYPE_CHECKING, Final

import httptools

from tidegate.core.domain.errors import UpstreamUnreachable
from tidegate.http.client.head_repair import is_repairable, repaired_head
from tidegate.http.framing import excess_framing_bytes

if TYPE_CHECKING:
    from tidegate.core.ports.transport import Fields, Headers

__all__ = ["HttpResponse", "unreachable"]

_HIGH_WATER_BYTES: Final = 256 * 1024
"""Reading from the socket stops when this much of a body waits for its reader."""
_MAX_FRAMING_BYTES: Final = 256 * 1024
"""Limit of a head, informational ones included, and of trailers and chunk extensions. Real ones are much smaller."""


def unreachable(reason: str, *, may_have_been_accepted: bool) -> UpstreamUnreachable:
    """The error for an exchange that failed."""
    return UpstreamUnreachable(
        f"no response from the upstream: {reason}", may_have_been_accepted=may_have_been_accepted
    )


class HttpResponse:
    """Parses the bytes that its connection feeds it; its reader uses it as a `TransportResponse`.

    Args:
        pause: stops reading from the socket.
        resume: reads from the socket again.
        release: called once at the end of the exchange.
        check_at: makes the connection call `check_deadline` at a time of the event loop, or earlier.
        loop: the event loop.
        has_no_body: the response has no body whatever its head says (`HEAD`).
        idle_timeout_seconds: how long a reader waits for further bytes of the body.

    Attributes:
        started: whether any byte has arrived.
        complete: whether all of it has arrived.
        sending: whether the request is still being sent: no response is due before that.
    """

    __slots__ = (
        "_asked_ns",
        "_buffered_bytes",
        "_check_at",
        "_chunks",
        "_closed",
        "_deadline",
        "_ends_with_connection",
        "_error",
        "_framing_bytes",
        "_has_head",
        "_has_no_body",
        "_has_surplus",
        "_head_is_malformed",
        "_idle_timeout_seconds",
        "_keep_alive",
        "_loop",
        "_parsed_headers",
        "_parser",
        "_pause_reading",
        "_paused",
        "_received_head",
        "_release",
        "_resume_reading",
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
        check_at: Callable[[float], None],
        loop: asyncio.AbstractEventLoop,
        has_no_body: bool,
        idle_timeout_seconds: float,
    ) -> None:
        self.status = 0
        self.waited_ns = 0
        self.headers: Headers = ()
        self.fields: Fields = {}
        self.started = False
        self.complete = False
        self.sending = False
        self._parser = httptools.HttpResponseParser(self)
        self._pause_reading = pause
        self._resume_reading = resume
        self._release = release
        self._check_at = check_at
        self._loop = loop
        self._has_no_body = has_no_body
        self._idle_timeout_seconds = idle_timeout_seconds
        self._parsed_headers: list[tuple[bytes, bytes]] = []
        self._received_head: list[bytes] = []
        self._head_is_malformed = False
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
        self._has_surplus = False
        self._closed = False

    # Called by the connection.

    def feed(self, data: bytes) -> None:
        """Takes bytes from the socket.

        Raises:
            ValueError: they are not one response in HTTP/1.1.
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
        if not self._head_is_malformed:
            try:
                self._parse(data)
            except ValueError as error:
                if self._has_head or error.__cause__ is None or not is_repairable(error.__cause__):
                    raise
                self._head_is_malformed = True
        if self._head_is_malformed and (repaired := repaired_head(b"".join(self._received_head))) is not None:
            self._parser = httptools.HttpResponseParser(self)
            self._parsed_headers = []
            self._parse(repaired)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            reason = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else error
            raise ValueError(f"not HTTP/1.1: {reason}") from error

    def keeps_alive(self) -> bool:
        """Whether the connection can carry another exchange after this response."""
        return self.complete and not self._has_surplus and self._keep_alive

    def on_message_begin(self) -> None:
        """Parser: a response begins. Another one after this is unexpected."""
        self._has_surplus = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: a header field. Trailer fields are dropped."""
        if not self._has_head:
            self._parsed_headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Parser: the end of a head. Informational heads (1xx) are skipped: the final one follows."""
        status = self._parser.get_status_code()
        if status < 100 or status == 101:
            raise ValueError("not the status of a response")  # makes `feed_data` fail
        if status < 200:
            self._parsed_headers = []
        elif not self._has_head:
            self.status, self._has_head = status, True
            self.headers, self._parsed_headers = self._parsed_headers, []
            self._received_head.clear()
            self._framing_bytes = 0
            fields = self.fields = dict(self.headers)
            if b"content-length" not in fields:
                last_coding = fields.get(b"transfer-encoding", b"").lower().rpartition(b",")[2].strip()
                self._ends_with_connection = last_coding != b"chunked"
            # Read here, because the parser resets it at the end of the message. The `connection` field of a malformed
            # head is not trusted.
            self._keep_alive = not self._head_is_malformed and self._parser.should_keep_alive()
            self.complete = self._has_no_body
            if self._waiter is not None:
                self._wake(self._waiter)

    def on_body(self, data: bytes) -> None:
        """Parser: a part of the body."""
        if self.complete:
            return
        self._chunks.append(data)
        size_bytes = len(data)
        if self._framing_bytes:
            self._framing_bytes = excess_framing_bytes(self._framing_bytes, size_bytes)
        self._buffered_bytes += size_bytes
        if self._buffered_bytes > _HIGH_WATER_BYTES and not self._paused:
            self._paused = True
            self._pause_reading()
        if self._waiter is not None:
            self._wake(self._waiter)

    def on_message_complete(self) -> None:
        """Parser: the end of the response, by its framing."""
        if self._has_head:
            self.complete = True
            if self._waiter is not None:
                self._wake(self._waiter)

    def connection_ended(self, reason: str, *, may_have_been_accepted: bool, cleanly: bool) -> None:
        """Completes a body that ends with a clean end of the connection; fails the exchange otherwise."""
        if cleanly and self._has_head and self._ends_with_connection:
            self.on_message_complete()
        else:
            self.fail(unreachable(reason, may_have_been_accepted=may_have_been_accepted))

    def fail(self, error: Exception) -> None:
        """Fails the exchange unless it has ended: the reader gets the bytes that have arrived, then this error."""
        if not self.complete and self._error is None:
            self._error = error
            if self._waiter is not None:
                self._wake(self._waiter)

    # Called by the reader.

    def head(self, timeout_seconds: float) -> asyncio.Future[None]:
        """A future that is done when the head has arrived, or the exchange has failed: then call `check`."""
        waiter = self._wait(timeout_seconds)
        if self._has_head or self._error is not None:
            self._wake(waiter)
        return waiter

    def check(self) -> None:
        """Raises the error of an exchange that failed before its head arrived."""
        if not self._has_head and self._error is not None:
            raise self._error

    def whole(self) -> bytes | None:
        """The body of a complete response; see `TransportResponse`."""
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
        """The body as it arrives; see `TransportResponse`."""
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        # Not an async generator: closing one that is not read to its end takes a task.
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
        # Breaks a reference cycle with the parser: thousands of them make the garbage collector stop the event loop.
        del self._parser

    def _resume(self) -> None:
        self._paused = False
        self._resume_reading()

    def check_deadline(self) -> float | None:
        """Fails the exchange if its reader has waited too long.

        Returns how much longer it may wait; None if it does not wait, or the exchange has failed.
        """
        if self._waiter is None:
            return None
        left_seconds = self._timeout_seconds if self.sending else self._deadline - self._loop.time()
        if left_seconds > 0:
            return left_seconds
        self.fail(unreachable(f"nothing arrived for {self._timeout_seconds:g} s", may_have_been_accepted=True))
        return None

    def _wait(self, timeout_seconds: float) -> asyncio.Future[None]:
        waiter = self._waiter = self._loop.create_future()
        self._asked_ns = monotonic_ns()
        self._timeout_seconds = timeout_seconds
        self._deadline = self._loop.time() + timeout_seconds
        self._check_at(self._deadline)
        return waiter

    def _wake(self, waiter: asyncio.Future[None]) -> None:
        self._waiter = None
        if not waiter.done():
            self.waited_ns += monotonic_ns() - self._asked_ns
            waiter.set_result(None)
