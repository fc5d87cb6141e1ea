"""One request of a client and its response, as an ASGI application sees them."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol

from tidegate.http.asgi import EXCHANGE, App, Message
from tidegate.http.server.response_framing import ResponseFraming

__all__ = ["HIGH_WATER_BYTES", "Exchange", "ExchangeConnection", "ExchangeWriter"]

HIGH_WATER_BYTES: Final = 256 * 1024
"""Reading stops when this much of a body waits for the application. One read yields at most as much."""
_PART_OVERHEAD_BYTES: Final = 64
"""Memory that a part takes in addition to its bytes. A body may arrive in parts of one byte."""
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_NO_RESPONSE: Final = b"Internal Server Error"
_LOGGER: Final = logging.getLogger(__name__)


class ExchangeConnection(Protocol):
    """The connection of an exchange, as the exchange controls it."""

    def resume_reading(self) -> None:
        """The application is ready for more of the body."""
        ...

    def pause_reading(self) -> None:
        """Too much of the body waits for the application."""
        ...

    def response_completed(self, exchange: "Exchange") -> None:
        """The whole response was written."""
        ...

    def response_aborted(self) -> None:
        """The response will not be completed."""
        ...

    def application_returned(self, exchange: "Exchange") -> None:
        """The application's task is about to end."""
        ...


class ExchangeWriter(Protocol):
    """Writes the response of an exchange; see `ResponseWriter`."""

    write_paused: bool

    def write(self, data: bytes) -> None: ...  # noqa: D102 - see the class

    async def drain(self) -> None: ...  # noqa: D102 - see the class


class Exchange:
    """Takes a request's body from the connection, and gives the application `receive` and `send`.

    The head of a response is written together with the first part of its body, or at the end of the event loop's turn.

    Args:
        scope: the ASGI scope; the extension `EXCHANGE` is added.
        connection: the connection.
        writer: writes to the client.
        loop: the event loop.
        keep_alive: whether the connection may be used again.
        expects_continue: whether the client waits for a 100 before it sends the body.

    Attributes:
        keep_alive: whether the connection may be used again after this exchange.
        more_body: whether more of the body is to come.
        started: whether the response has begun.
        complete: whether the response has ended.
        disconnected: whether the client is gone, or its input is ignored.
        task: the task of the application.
    """

    __slots__ = (
        "_body_taken",
        "_connection",
        "_expects_continue",
        "_framing",
        "_head",
        "_held_bytes",
        "_loop",
        "_on_disconnect",
        "_parts",
        "_waiters",
        "_writer",
        "complete",
        "disconnected",
        "keep_alive",
        "more_body",
        "scope",
        "started",
        "task",
    )

    def __init__(
        self,
        scope: dict[str, Any],
        connection: ExchangeConnection,
        writer: ExchangeWriter,
        loop: asyncio.AbstractEventLoop,
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        scope["extensions"] = {EXCHANGE: self}
        self.scope = scope
        self.keep_alive = keep_alive
        self.more_body = True
        self.started = self.complete = self.disconnected = False
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._writer = writer
        self._loop = loop
        self._expects_continue = expects_continue
        self._on_disconnect: Callable[[], None] | None = None
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._body_taken = False  # to its end
        self._waiters: list[asyncio.Future[None]] = []
        self._head: bytes | None = None
        self._framing: ResponseFraming | None = None

    # Called by the connection.

    def feed_body(self, part: bytes) -> None:
        """A part of the body has arrived."""
        if self.complete or self._body_taken:
            return
        self._held_bytes += len(part) + (_PART_OVERHEAD_BYTES if self._parts else 0)
        self._parts.append(part)
        if self._held_bytes > HIGH_WATER_BYTES:
            self._connection.pause_reading()
        if self._waiters:
            self._wake()

    def end_body(self) -> None:
        """The body is complete."""
        self.more_body = False
        if self._waiters:
            self._wake()

    def disconnect(self) -> None:
        """The client is gone. Nothing more is sent, and the application is told."""
        self.disconnected = True
        self._wake()
        if self._on_disconnect is not None:
            self._on_disconnect()

    async def run(self, app: App) -> None:
        """Runs the application. If it does not complete the response, the client gets a 500 or a broken response."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException:  # any error of the application, cancellation included, ends here
            _LOGGER.exception("an application failed")
        self._on_disconnect = None
        self._connection.application_returned(self)
        del self.scope["extensions"]  # breaks a reference cycle, which the garbage collector need not find then
        if self.complete or self.disconnected:
            return
        if self.started:
            self._send_head()
            self._connection.response_aborted()
            return
        length = b"%d" % len(_NO_RESPONSE)
        headers = [(b"content-type", b"text/plain"), (b"content-length", length), (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": _NO_RESPONSE})

    # Called by the application.

    def whole_body(self) -> bytes | None:
        """As `ServerExchange.whole_body`."""
        if self.more_body or self.disconnected or self._body_taken:
            return None
        self._body_taken = True
        return self._take_parts()

    def respond(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
        """As `ServerExchange.respond`."""
        if self._writer.write_paused and not self.disconnected:
            return False
        if not self.disconnected:
            self._start(status, headers)
            self._send_part(body, is_last=True)
        return True

    def on_disconnect(self, callback: Callable[[], None] | None) -> None:
        """As `ServerExchange.on_disconnect`."""
        self._on_disconnect = callback
        if callback is not None and self.disconnected:
            callback()

    async def receive(self) -> Message:
        """As in ASGI."""
        if self._expects_continue and not self.started and not self.disconnected:
            self._expects_continue = False
            self._writer.write(_CONTINUE)
        while not (self.disconnected or self.complete):
            if self._parts or not (self.more_body or self._body_taken):
                self._body_taken = not self.more_body
                return {"type": "http.request", "body": self._take_parts(), "more_body": self.more_body}
            self._connection.resume_reading()
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """As in ASGI."""
        if self._writer.write_paused and not self.disconnected:
            await self._writer.drain()
        if self.disconnected:
            return
        if self.complete:
            raise RuntimeError("the response is already complete")
        if message["type"] == "http.response.start":
            self._start(message["status"], message["headers"])
            self._loop.call_soon(self._send_head)
        else:
            self._send_part(message.get("body", b""), is_last=not message.get("more_body", False))

    def _take_parts(self) -> bytes:
        """The part of the body that has arrived since the last call."""
        parts, self._parts, self._held_bytes = self._parts, [], 0
        self._connection.resume_reading()
        return parts[0] if len(parts) == 1 else b"".join(parts)  # most bodies arrive in one piece: avoids a copy

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if self.started:
            raise RuntimeError("the response has already begun")
        self.started = True
        scope = self.scope
        framing = self._framing = ResponseFraming(scope["method"], scope["http_version"], keep_alive=self.keep_alive)
        self._head = framing.head(status, headers)
        self.keep_alive = framing.keep_alive

    def _send_head(self) -> None:
        if self._head is not None and not self.disconnected:
            head, self._head = self._head, None
            self._writer.write(head)

    def _send_part(self, body: bytes, *, is_last: bool) -> None:
        if self._framing is None:
            raise RuntimeError("the response has not begun")
        data = self._framing.part(body, is_last=is_last)
        if self._head is not None:
            data, self._head = self._head + data, None
        if data:
            self._writer.write(data)
        if is_last:
            self.complete = True
            self._wake()
            self._connection.response_completed(self)

    def _wake(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
