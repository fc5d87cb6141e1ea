"""One request of a client and its answer, as an ASGI application sees them."""

import asyncio
import logging
import time
from collections.abc import Callable
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Final, Protocol

from tidegate.http.asgi import EXCHANGE, App, Message

__all__ = ["HIGH_WATER_BYTES", "Exchange", "Peer", "status_line"]

HIGH_WATER_BYTES: Final = 256 * 1024
"""When this much of a body waits for the application, no more is read from the socket: as much as one read brings."""
_PART_BYTES: Final = 64
"""What a part of a body takes beside its bytes: a body may come in parts of one byte."""
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_BODILESS: Final = frozenset({204, 304})
_NO_ANSWER: Final = b"Internal Server Error"
_LOGGER: Final = logging.getLogger(__name__)


def status_line(status: int) -> bytes:
    """The first line of an answer, without its end."""
    line = _STATUS_LINES.get(status)
    return b"HTTP/1.1 %d " % status if line is None else line


_STATUS_LINES: Final = {status.value: f"HTTP/1.1 {status.value} {status.phrase}".encode() for status in HTTPStatus}


@lru_cache(maxsize=1)
def _date_line(unix_seconds: int) -> bytes:
    return b"date: " + formatdate(unix_seconds, usegmt=True).encode()


class Peer(Protocol):
    """The connection that an exchange goes over."""

    write_paused: bool
    """Whether the client reads so slowly that nothing more should be written."""

    def write(self, data: bytes) -> None:
        """Sends bytes."""
        ...

    async def drain(self) -> None:
        """Returns when the client has caught up, or is gone."""
        ...

    def take_more(self) -> None:
        """The application is ready for more of the body."""
        ...

    def hold_back(self) -> None:
        """More of the body waits than should."""
        ...

    def over(self, exchange: "Exchange") -> None:
        """The answer is complete."""
        ...

    def left(self, exchange: "Exchange") -> None:
        """The application has returned."""
        ...

    def break_off(self) -> None:
        """The answer will never be complete: the connection ends once what was written has gone out."""
        ...


class Exchange:
    """Takes a request's body from the connection, and gives the application `receive` and `send`.

    The head of an answer goes out together with the first part of its body, or at the end of the event loop's turn.

    Attributes:
        scope: as in ASGI, with the extension `EXCHANGE`.
        keep_alive: whether the connection may go on after this exchange.
        receives: whether more of the body is to come.
        started: the answer has begun.
        complete: it has ended.
        gone: the client has left, or will not be listened to any more.
    """

    __slots__ = (
        "_bodiless",
        "_chunked",
        "_expects_continue",
        "_handed_out",
        "_head",
        "_held_bytes",
        "_left_bytes",
        "_loop",
        "_on_leave",
        "_parts",
        "_peer",
        "_waiters",
        "complete",
        "gone",
        "keep_alive",
        "receives",
        "scope",
        "started",
        "task",
    )

    def __init__(
        self,
        scope: dict[str, Any],
        peer: Peer,
        loop: asyncio.AbstractEventLoop,
        *,
        keep_alive: bool,
        expects_continue: bool,
    ) -> None:
        scope["extensions"] = {EXCHANGE: self}
        self.scope = scope
        self.keep_alive = keep_alive
        self.receives = True
        self.started = self.complete = self.gone = False
        self.task: asyncio.Task[None] | None = None
        self._peer = peer
        self._loop = loop
        self._expects_continue = expects_continue
        self._on_leave: Callable[[], None] | None = None
        self._parts: list[bytes] = []
        self._held_bytes = 0
        self._handed_out = False  # the end of the body, too
        self._waiters: list[asyncio.Future[None]] = []
        self._head: bytes | None = None
        self._bodiless = self._chunked = False
        self._left_bytes: int | None = None

    # The connection's side.

    def take(self, part: bytes) -> None:
        """A part of the body has come."""
        if self.complete or self._handed_out:
            return
        self._held_bytes += len(part) + (_PART_BYTES if self._parts else 0)
        self._parts.append(part)
        if self._held_bytes > HIGH_WATER_BYTES:
            self._peer.hold_back()
        if self._waiters:
            self._wake()

    def end_body(self) -> None:
        """The body is complete."""
        self.receives = False
        if self._waiters:
            self._wake()

    def leave(self) -> None:
        """The client is gone."""
        self.gone = True
        self._wake()
        if self._on_leave is not None:
            self._on_leave()

    async def run(self, app: App) -> None:
        """Has the application answer; what it leaves unanswered is a 500, or breaks off."""
        try:
            await app(self.scope, self.receive, self.send)
        except BaseException:  # whatever an application raises ends here
            _LOGGER.exception("an application failed")
        self._on_leave = None
        self._peer.left(self)
        del self.scope["extensions"]  # the two hold each other, and would be left to the collector
        if self.complete or self.gone:
            return
        if self.started:
            self._send_head()
            self._peer.break_off()
            return
        length = b"%d" % len(_NO_ANSWER)
        headers = [(b"content-type", b"text/plain"), (b"content-length", length), (b"connection", b"close")]
        await self.send({"type": "http.response.start", "status": 500, "headers": headers})
        await self.send({"type": "http.response.body", "body": _NO_ANSWER})

    # The application's side.

    def whole_body(self) -> bytes | None:
        """As `ServerExchange.whole_body`."""
        if self.receives or self.gone or self._handed_out:
            return None
        self._handed_out = True
        return self._take_parts()

    def answer(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> bool:
        """As `ServerExchange.answer`."""
        if self._peer.write_paused and not self.gone:
            return False
        if not self.gone:
            self._start(status, headers)
            self._send_part(body, is_last=True)
        return True

    def on_leave(self, leave: Callable[[], None] | None) -> None:
        """As `ServerExchange.on_leave`."""
        self._on_leave = leave
        if leave is not None and self.gone:  # it left before anybody asked
            leave()

    async def receive(self) -> Message:
        """As in ASGI."""
        if self._expects_continue and not self.started and not self.gone:
            self._expects_continue = False
            self._peer.write(_CONTINUE)
        while not (self.gone or self.complete):
            if self._parts or not (self.receives or self._handed_out):
                self._handed_out = not self.receives
                return {"type": "http.request", "body": self._take_parts(), "more_body": self.receives}
            self._peer.take_more()
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """As in ASGI."""
        if self._peer.write_paused and not self.gone:
            await self._peer.drain()
        if self.gone:
            return
        if self.complete:
            raise RuntimeError("the answer is complete already")
        if message["type"] == "http.response.start":
            self._start(message["status"], message["headers"])
            self._loop.call_soon(self._send_head)
        else:
            self._send_part(message.get("body", b""), is_last=not message.get("more_body", False))

    def _take_parts(self) -> bytes:
        """What has come of the body since this was called last."""
        parts, self._parts, self._held_bytes = self._parts, [], 0
        self._peer.take_more()
        return parts[0] if len(parts) == 1 else b"".join(parts)  # most bodies come in one piece: not copied

    def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        if self.started:
            raise RuntimeError("the answer has begun already")
        self.started = True
        fields = dict(headers)
        lines = [status_line(status), *map(b": ".join, headers)]
        if b"date" not in fields:  # relayed answers have the upstream's
            lines.append(_date_line(int(time.time())))
        self._frame(status, fields, lines)
        if b"connection" in fields:
            if b"close" in fields[b"connection"].lower():
                self.keep_alive = False
        elif not self.keep_alive:
            lines.append(b"connection: close")
        ends = len(lines) + 1
        lines += (b"", b"")
        head = b"\r\n".join(lines)
        if head.count(b"\n") != ends or head.count(b"\r") != ends:
            raise RuntimeError("a line end inside of a header field")
        self._head = head

    def _frame(self, status: int, fields: dict[bytes, bytes], lines: list[bytes]) -> None:
        """Decides how the client will know where the body ends."""
        length = fields.get(b"content-length")
        if status in _BODILESS or self.scope["method"] == "HEAD":
            self._bodiless = True
        elif length is not None:
            self._left_bytes = int(length)
        elif self.scope["http_version"] == "1.1":
            self._chunked = True
            if b"transfer-encoding" not in fields:
                lines.append(b"transfer-encoding: chunked")
        else:  # by the end of the connection
            self.keep_alive = False

    def _send_head(self) -> None:
        if self._head is not None and not self.gone:
            head, self._head = self._head, None
            self._peer.write(head)

    def _send_part(self, body: bytes, *, is_last: bool) -> None:
        if not self.started:
            raise RuntimeError("the answer has not begun")
        data = body
        if self._bodiless:
            data = b""
        elif self._chunked:
            data = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            if is_last:
                data += b"0\r\n\r\n"
        elif self._left_bytes is not None:
            self._left_bytes -= len(body)
            if self._left_bytes < 0 or (is_last and self._left_bytes):
                raise RuntimeError("the body is longer or shorter than its content-length")
        if self._head is not None:
            data, self._head = self._head + data, None
        if data:
            self._peer.write(data)
        if is_last:
            self.complete = True
            self._wake()
            self._peer.over(self)

    def _wake(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)
