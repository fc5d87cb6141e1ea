"""One connection to the upstream. It carries one exchange at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, cast

from tidegate.core.ports.transport import TransportRequest
from tidegate.http.client.response import HttpResponse
from tidegate.http.write_batching import WriteBatcher

__all__ = ["Connection", "ConnectionTimeouts"]

_LEAST_ROUND_TRIP_SECONDS: Final = 0.005
"""A busy event loop may notice a close this much later."""
_MAX_ROUND_TRIP_SECONDS: Final = 0.25
"""Upper bound of the estimate: opening a connection takes at least a round trip, but may take much longer."""


@dataclass(slots=True)
class ConnectionTimeouts:
    """Timeouts for a connection, for the head of a response, and between two pieces of its body; all > 0.

    All connections of a transport share it, so that a change counts for those that are open.
    """

    connect_seconds: float
    head_seconds: float
    idle_seconds: float


class Connection(asyncio.Protocol):
    """Writes requests, feeds responses, and applies back-pressure in both directions.

    Args:
        timeouts: how long to wait.
        write_batcher: decides when to write.
        on_exchange_end: called after each exchange, with whether the connection can carry another one.
        on_lost: called once when the connection is gone.
    """

    __slots__ = (
        "_fires_at",
        "_loop",
        "_on_exchange_end",
        "_on_lost",
        "_response",
        "_sender",
        "_sent_at",
        "_socket",
        "_timeouts",
        "_timer",
        "_unsent",
        "_writable",
        "_write_batcher",
        "_written",
        "idle_since_seconds",
        "opened_in_ns",
        "round_trip_seconds",
        "went_stale",
    )

    def __init__(
        self,
        timeouts: ConnectionTimeouts,
        write_batcher: WriteBatcher,
        on_exchange_end: Callable[["Connection", bool], None],
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self.opened_in_ns = 0
        """The time that opening took; 0 once the first exchange has counted it."""
        self.idle_since_seconds = 0.0
        """When the last exchange ended, by `time.monotonic`; 0 before the first exchange."""
        self.round_trip_seconds = _MAX_ROUND_TRIP_SECONDS
        """Upper bound of the round trip to the upstream: the shortest time in which anything arrived so far."""
        self.went_stale = False
        """Whether the upstream closed it while it was idle, before the latest request could arrive there."""
        self._timeouts = timeouts
        self._write_batcher = write_batcher
        self._on_exchange_end = on_exchange_end
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = 0.0
        self._socket: asyncio.Transport
        self._response: HttpResponse | None = None
        self._sender: asyncio.Task[None] | None = None
        self._unsent: tuple[bytes, bytes] | None = None
        self._written = False
        self._sent_at: float | None = None
        self._writable: asyncio.Event | None = None  # exists while writing is paused

    def start_exchange(self, head: bytes, request: TransportRequest) -> HttpResponse:
        """Sends a request, whose head is already encoded; returns the response, whose head is to be awaited."""
        response = self._response = HttpResponse(
            pause=self._pause_reading,
            resume=self._resume_reading,
            release=self._end_exchange,
            check_at=self._check_at,
            loop=self._loop,
            has_no_body=request.method == b"HEAD",
            idle_timeout_seconds=self._timeouts.idle_seconds,
        )
        response.waited_ns, self.opened_in_ns = self.opened_in_ns, 0
        self._sender = self._sent_at = None
        self._written = False
        if isinstance(request.body, bytes):
            self._unsent = head, request.body
            self._write_batcher.put(self._send_whole, len(request.body))
        else:
            self._socket.write(head)
            self._sent_at = self._loop.time()
            response.sending = True
            self._sender = self._loop.create_task(
                self._send_chunks(response, request.body, chunked=request.content_length is None)
            )
        return response

    @property
    def is_open(self) -> bool:
        """Whether it is still open, as far as this side knows."""
        return not self._socket.is_closing()

    def close(self) -> None:
        """Closes at once. An exchange under way fails."""
        self._socket.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Event loop: connected."""
        self._socket = cast("asyncio.Transport", transport)
        # With a limit of zero, "writable" means that the operating system has every byte. Only then may a request
        # without a response have been accepted.
        self._socket.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        """Event loop: bytes arrived."""
        response = self._response
        if response is None or response.complete:
            self.close()  # unexpected bytes: they must not be taken for the response to the next request
            return
        if not response.started and self._sent_at is not None and self.round_trip_seconds > _LEAST_ROUND_TRIP_SECONDS:
            self.round_trip_seconds = min(self.round_trip_seconds, self._loop.time() - self._sent_at)
        try:
            response.feed(data)
        except ValueError as error:
            self._response_ended(f"its response is not valid ({error})", cleanly=False)
            self.close()

    def eof_received(self) -> None:
        """Event loop: the upstream will send no more. Returning nothing closes this side, too."""
        self._response_ended("the connection was closed", cleanly=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Event loop: the connection is gone."""
        self._response_ended("the connection was reset" if exc else "the connection was closed", cleanly=exc is None)
        self.resume_writing()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Event loop: the operating system takes no more bytes for now."""
        if self._writable is None:
            self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        """Event loop: every byte has been handed to the operating system."""
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    def _send_whole(self) -> None:
        unsent, self._unsent = self._unsent, None
        if unsent is not None and self.is_open:
            self._socket.writelines(unsent)
            self._sent_at = self._loop.time()
            self._written = True

    async def _send_chunks(self, response: HttpResponse, chunks: AsyncIterator[bytes], *, chunked: bool) -> None:
        try:
            async for chunk in chunks:
                if chunk:
                    self._socket.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                    if self._writable is not None:
                        await self._writable.wait()
            if chunked:
                self._socket.write(b"0\r\n\r\n")
            self._written = True
        except Exception as error:  # noqa: BLE001 - the reader of the response gets any error of the body's source
            response.fail(error)
        finally:
            response.sending = False

    def _check_at(self, deadline: float) -> None:
        # One timer serves all waits: most end long before it fires, and it is then set again.
        if self._timer is None or deadline < self._fires_at:
            if self._timer is not None:
                self._timer.cancel()
            self._fires_at = deadline
            self._timer = self._loop.call_at(deadline, self._check_deadline)

    def _check_deadline(self) -> None:
        self._timer = None
        left_seconds = None if self._response is None else self._response.check_deadline()
        if left_seconds is not None:
            self._check_at(self._loop.time() + left_seconds)

    def _pause_reading(self) -> None:
        if self.is_open:
            self._socket.pause_reading()

    def _resume_reading(self) -> None:
        if self.is_open:
            self._socket.resume_reading()

    def _response_ended(self, reason: str, *, cleanly: bool) -> None:
        if self._response is not None:
            self.went_stale = self.idle_since_seconds > 0 and not self._response.started and self._is_too_early()
            sent_whole = self._written and self._writable is None
            self._response.connection_ended(reason, may_have_been_accepted=sent_whole, cleanly=cleanly)

    def _is_too_early(self) -> bool:
        """Whether less than a round trip has passed since the latest request: the upstream closed before it arrived."""
        if self._sent_at is None:
            return True
        return self._loop.time() - self._sent_at <= max(self.round_trip_seconds, _LEAST_ROUND_TRIP_SECONDS)

    def _end_exchange(self) -> None:
        response, self._response, self._unsent = self._response, None, None
        if self._sender is not None:
            self._sender.cancel()
        reusable = response is not None and response.keeps_alive() and self._written and self.is_open
        if not reusable:
            self.close()
        self._on_exchange_end(self, reusable)
