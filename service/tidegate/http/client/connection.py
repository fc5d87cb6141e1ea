"""One connection to the upstream: carries one exchange at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, cast

from tidegate.core.ports.transport import TransportRequest
from tidegate.http.client.response import Answer
from tidegate.http.write_batching import WriteBatcher

__all__ = ["Connection", "ConnectionTimeouts"]

_LEAST_ROUND_TRIP_SECONDS: Final = 0.005
"""A busy event loop notices a close this much later than it came."""
_MAX_ROUND_TRIP_SECONDS: Final = 0.25
"""Opening a connection and answering a request take at least a round trip, but may take much longer than one."""


@dataclass(frozen=True, slots=True)
class ConnectionTimeouts:
    """How long to wait for a connection, for the head of an answer, and between two pieces of its body; all > 0."""

    connect_seconds: float
    head_seconds: float
    idle_seconds: float


class Connection(asyncio.Protocol):
    """Writes requests, parses answers, and passes back-pressure on in both directions.

    Args:
        timeouts: how long to wait for what.
        write_batcher: when to write.
        on_over: called after each exchange, with whether the connection can carry another one.
        on_lost: called once when the connection is gone.
    """

    __slots__ = (
        "_answer",
        "_fires_at",
        "_loop",
        "_on_lost",
        "_on_over",
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
        on_over: Callable[["Connection", bool], None],
        on_lost: Callable[["Connection"], None],
    ) -> None:
        self.opened_in_ns = 0
        """How long it took to open, until the first exchange has taken note of it."""
        self.idle_since_seconds = 0.0
        """When the last exchange ended, by `time.monotonic`; 0 before the first one."""
        self.round_trip_seconds = _MAX_ROUND_TRIP_SECONDS
        """An upper bound of the time to the upstream and back: the shortest time in which anything came back so far."""
        self.went_stale = False
        """Whether the upstream had closed it, while it was idle, before the latest request could reach it."""
        self._timeouts = timeouts
        self._write_batcher = write_batcher
        self._on_over = on_over
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = 0.0
        self._socket: asyncio.Transport
        self._answer: Answer | None = None
        self._sender: asyncio.Task[None] | None = None
        self._unsent: tuple[bytes, bytes] | None = None
        self._written = False
        self._sent_at: float | None = None
        self._writable: asyncio.Event | None = None  # while it is not

    def begin(self, head: bytes, request: TransportRequest) -> Answer:
        """Starts an exchange: sends the request, whose head is already encoded, and returns its answer to wait for."""
        answer = self._answer = Answer(
            pause=self._pause_reading,
            resume=self._resume_reading,
            release=self._over,
            expect=self._expect,
            loop=self._loop,
            bodiless=request.method == b"HEAD",
            idle_timeout_seconds=self._timeouts.idle_seconds,
        )
        answer.waited_ns, self.opened_in_ns = self.opened_in_ns, 0
        self._sender = self._sent_at = None
        self._written = False
        if isinstance(request.body, bytes):
            self._unsent = head, request.body
            self._write_batcher.put(self._send_whole, len(request.body))
        else:
            self._socket.write(head)
            self._sent_at = self._loop.time()
            answer.sending = True
            self._sender = self._loop.create_task(
                self._send_chunks(answer, request.body, chunked=request.content_length is None)
            )
        return answer

    @property
    def usable(self) -> bool:
        """Whether it is still open, as far as is known here."""
        return not self._socket.is_closing()

    def close(self) -> None:
        """Closes at once; an exchange under way fails."""
        self._socket.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Event loop: connected."""
        self._socket = cast("asyncio.Transport", transport)
        # With a limit of zero, "writable" means that the operating system has every byte: only then may a request that
        # got no answer have been accepted.
        self._socket.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        """Event loop: bytes came."""
        answer = self._answer
        if answer is None or answer.complete:
            self.close()  # nothing was asked: whatever this is, it must not become the answer to the next request
            return
        if not answer.started and self._sent_at is not None and self.round_trip_seconds > _LEAST_ROUND_TRIP_SECONDS:
            self.round_trip_seconds = min(self.round_trip_seconds, self._loop.time() - self._sent_at)
        try:
            answer.feed(data)
        except ValueError as error:
            self._answer_ended(f"its answer is not valid ({error})", cleanly=False)
            self.close()

    def eof_received(self) -> None:
        """Event loop: the upstream will send no more. Returning nothing lets the loop close our half, too."""
        self._answer_ended("the connection was closed", cleanly=True)

    def connection_lost(self, exc: Exception | None) -> None:
        """Event loop: the connection is gone."""
        self._answer_ended("the connection was reset" if exc else "the connection was closed", cleanly=exc is None)
        self.resume_writing()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._on_lost(self)

    def pause_writing(self) -> None:
        """Event loop: bytes wait to be sent."""
        if self._writable is None:
            self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        """Event loop: every byte has been handed to the operating system."""
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    def _send_whole(self) -> None:
        unsent, self._unsent = self._unsent, None
        if unsent is not None and self.usable:
            self._socket.writelines(unsent)
            self._sent_at = self._loop.time()
            self._written = True

    async def _send_chunks(self, answer: Answer, chunks: AsyncIterator[bytes], *, chunked: bool) -> None:
        try:
            async for chunk in chunks:
                if chunk:
                    self._socket.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                    if self._writable is not None:
                        await self._writable.wait()
            if chunked:
                self._socket.write(b"0\r\n\r\n")
            self._written = True
        except Exception as error:  # noqa: BLE001 - whatever the source of the body raises is for who waits for the answer
            answer.fail(error)
        finally:
            answer.sending = False

    def _expect(self, deadline: float) -> None:
        # One timer serves all waits of a connection: most end long before it fires, and it is set again then.
        if self._timer is None or deadline < self._fires_at:
            if self._timer is not None:
                self._timer.cancel()
            self._fires_at = deadline
            self._timer = self._loop.call_at(deadline, self._look)

    def _look(self) -> None:
        self._timer = None
        left_seconds = None if self._answer is None else self._answer.overdue_seconds()
        if left_seconds is not None:
            self._expect(self._loop.time() + left_seconds)

    def _pause_reading(self) -> None:
        if self.usable:
            self._socket.pause_reading()

    def _resume_reading(self) -> None:
        if self.usable:
            self._socket.resume_reading()

    def _answer_ended(self, reason: str, *, cleanly: bool) -> None:
        if self._answer is not None:
            self.went_stale = self.idle_since_seconds > 0 and not self._answer.started and self._is_too_early()
            sent_whole = self._written and self._writable is None
            self._answer.connection_ended(reason, may_have_been_accepted=sent_whole, cleanly=cleanly)

    def _is_too_early(self) -> bool:
        """Whether the upstream cannot have seen the latest request before it closed: no round trip has passed since."""
        if self._sent_at is None:
            return True
        return self._loop.time() - self._sent_at <= max(self.round_trip_seconds, _LEAST_ROUND_TRIP_SECONDS)

    def _over(self) -> None:
        answer, self._answer, self._unsent = self._answer, None, None
        if self._sender is not None:
            self._sender.cancel()
        reusable = answer is not None and answer.keeps_alive() and self._written and self.usable
        if not reusable:
            self.close()
        self._on_over(self, reusable)
