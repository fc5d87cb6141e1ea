"""The server's side of a connection: HTTP/1.1 for an ASGI application, with bounds on what a client may do to it.

uvicorn starts, listens and stops. Its own connections have no such bounds, write heads and bodies apart, and take more
time for a call than the whole limiter.
"""

import asyncio
import json
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from tidegate.cli.connection_limits import ConnectionLimits
from tidegate.cli.exchange import Exchange, status_line
from tidegate.core.events import Event, HeadRefused
from tidegate.gateway.outbox import LARGE_BYTES, Outbox

if TYPE_CHECKING:
    from tidegate.gateway.asgi import App

__all__ = ["ClientConnection"]


_MESSAGES: Final = "/v1/messages"
_LINGER_SECONDS: Final = 1.0
_HEAD_FRAMING_BYTES: Final = 4
"""Colon, space and line end of a field."""
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}


class ClientConnection(asyncio.Protocol):
    """One connection of a client: the `Peer` of its exchanges. The `outbox` says when to write.

    One timer runs for whatever is due to come next. It is not set again each time: it fires too early, looks, and goes
    on for the rest.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
        outbox: Outbox,
        report: Callable[[Event], None] | None = None,
    ) -> None:
        self.write_paused = False
        self._loop = _loop or asyncio.get_running_loop()
        self._app = cast("App", config.loaded_app)
        self._app_state = app_state
        self._state = server_state
        self._keep_alive_seconds = config.timeout_keep_alive
        self._limits = limits
        self._outbox = outbox
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._report = report
        self._parser: Any = httptools.HttpRequestParser(self)
        # What a client sends behind a request that ends the connection is no fault of that request.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._transport: asyncio.Transport
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = False
        self._head_bytes = 0
        self._receiving: Exchange | None = None
        self._answering: Exchange | None = None
        self._waiting: list[Exchange] = []
        self._is_refused = False
        self._read_paused = False
        self._received_at = self._resumed_at = 0.0
        self._writable: asyncio.Event | None = None  # while the client does not read
        self._unread: asyncio.TimerHandle | None = None
        self._paused_at = 0.0
        self._unread_seconds = 0.0
        self._overdue: Callable[[], None] | None = None
        self._due_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = 0.0

    # The event loop's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Event loop: connected. The first byte is awaited."""
        self._transport = cast("asyncio.Transport", transport)
        self._client = get_remote_addr(self._transport)
        self._server = get_local_addr(self._transport)
        self._state.connections.add(cast("Any", self))
        self._await(self._transport.close, self._limits.idle_seconds)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the event loop's signature
        """Event loop: the connection is gone."""
        self._state.connections.discard(cast("Any", self))
        self._await_nothing()
        self._all_read()
        self._leave()
        # What holds this connection is not left to the collector: thousands of them would make it stop the event loop.
        self._parser = self._receiving = self._answering = None
        self._waiting.clear()
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        """Event loop: bytes came."""
        if self._is_refused or self._transport.is_closing():
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # nothing that is known here: it is answered as if it had not been asked for
        except httptools.HttpParserError:
            if self._head_bytes > self._limits.head_bytes and self._head_size() > self._limits.head_bytes:
                self._refuse_head()
            else:
                self._refuse(400, "invalid_request_error", "Invalid HTTP request received.")
            return
        if self._in_head:
            self._head_goes_on()
            return
        self._head_bytes = 0
        if self._receiving is not None and not self._receiving.complete:
            self._received_at = self._loop.time()
            if self._overdue != self._body_is_overdue:
                self._await(self._body_is_overdue, self._limits.body_idle_seconds)
        elif self._overdue is not None and self._overdue != self._transport.close:
            self._overdue = None

    def eof_received(self) -> None:
        """Event loop: the client will send no more. Returning nothing closes the connection."""

    def pause_writing(self) -> None:
        """Event loop: the client does not read as fast as the answer comes."""
        self.write_paused = True
        self._writable = self._writable or asyncio.Event()
        self._paused_at = self._loop.time()
        answering = self._answering
        holds_quota = answering is not None and answering.scope["path"] == _MESSAGES
        left_seconds = max(0.0, self._limits.unread_seconds - (self._unread_seconds if holds_quota else 0.0))
        self._unread = self._loop.call_later(left_seconds, self._transport.abort)

    def resume_writing(self) -> None:
        """Event loop: it has caught up."""
        self._all_read()
        self.write_paused = False

    # The parser's side.

    def on_message_begin(self) -> None:
        """Parser: a request begins."""
        self._overdue = None
        self._in_head = True
        self._url = b""

    def on_url(self, url: bytes) -> None:
        """Parser: a part of the target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser: a header field."""
        if self._in_head:  # trailer fields are dropped
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Parser: a head is complete; its request begins, or waits for the one before it."""
        if self._head_bytes > self._limits.head_bytes and self._head_size() > self._limits.head_bytes:
            raise ValueError("the head is too large")  # the parser reports it as an error of its own
        self._in_head = False
        parser = self._parser
        raw_path, query = _split(self._url)
        path = raw_path.decode("ascii")
        version = parser.get_http_version()
        headers, self._headers = self._headers, []
        fields = dict(headers)
        scope = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "server": self._server,
            "client": self._client,
            "scheme": "http",
            "root_path": "",
            "headers": headers,
            "state": {**self._app_state, "fields": fields},
            "method": parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
        }
        exchange = self._receiving = Exchange(
            scope,
            self,
            self._loop,
            keep_alive=version == "1.1" and parser.should_keep_alive() and not parser.should_upgrade(),
            expects_continue=fields.get(b"expect", b"").lower() == b"100-continue",
        )
        if self._answering is None:
            self._start(exchange)
        else:
            self._waiting.append(exchange)
            self.hold_back()

    def on_body(self, body: bytes) -> None:
        """Parser: a part of the body."""
        if self._receiving is not None:
            self._receiving.take(body)

    def on_message_complete(self) -> None:
        """Parser: the end of a request."""
        if self._receiving is not None:
            self._receiving.end_body()
            self._receiving = None

    # The exchanges' side.

    def write(self, data: bytes) -> None:
        """As `Peer.write`."""
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if len(self._unsent) == 1:
            self._outbox.put(self._write_out, len(data))
        elif self._unsent_bytes > LARGE_BYTES:  # by what is written alone is it known that the client does not read
            self._write_out()

    async def drain(self) -> None:
        """As `Peer.drain`."""
        if self._writable is not None:
            await self._writable.wait()

    def hold_back(self) -> None:
        """As `Peer.hold_back`."""
        if not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def take_more(self) -> None:
        """As `Peer.take_more`; not while a request waits that came behind the one under way."""
        if self._read_paused and not self._waiting and not self._transport.is_closing():
            self._read_paused = False
            self._resumed_at = self._loop.time()
            self._transport.resume_reading()

    def break_off(self) -> None:
        """As `Peer.break_off`."""
        self._close()

    def over(self, exchange: Exchange) -> None:
        """As `Peer.over`: the next request may begin."""
        self._answering = None
        if not exchange.keep_alive:
            self._close()
        if self._transport.is_closing():
            return
        if self._waiting:
            self._start(self._waiting.pop(0))
        else:
            self._await(self._transport.close, self._keep_alive_seconds)
        if self._read_paused:
            self.take_more()

    def left(self, exchange: Exchange) -> None:
        """As `Peer.left`."""
        if exchange.task is not None:
            self._state.tasks.discard(exchange.task)

    # The server's side.

    def shutdown(self) -> None:
        """The service stops: the connection ends after the answer that is under way."""
        if self._answering is None:
            self._close()
        else:
            self._answering.keep_alive = False

    def _start(self, exchange: Exchange) -> None:
        self._answering = exchange
        self._unread_seconds = 0.0
        task = exchange.task = self._loop.create_task(exchange.run(self._app))
        self._state.tasks.add(task)

    def _write_out(self) -> None:
        unsent, self._unsent, self._unsent_bytes = self._unsent, [], 0
        if unsent and not self._transport.is_closing():
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    def _close(self) -> None:
        """Ends the connection once what was written has gone out."""
        self._write_out()
        self._transport.close()

    def _leave(self) -> None:
        """Whoever works on a request learns that nobody is there, and sends nothing more."""
        if self._answering is not None:
            self._answering.leave()

    def _await(self, overdue: Callable[[], None], seconds: float) -> None:
        """Something is due within that time, else `overdue` is called."""
        self._overdue = overdue
        self._due_at = self._loop.time() + seconds
        if self._timer is None or self._fires_at > self._due_at:
            self._arm()

    def _await_nothing(self) -> None:
        self._overdue = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = self._due_at
        self._timer = self._loop.call_at(self._due_at, self._look)

    def _look(self) -> None:
        self._timer = None
        if self._overdue is None:
            return
        if self._loop.time() < self._due_at:
            self._arm()
        else:
            overdue, self._overdue = self._overdue, None
            overdue()

    def _head_goes_on(self) -> None:
        if self._head_bytes > self._limits.head_bytes:
            self._refuse_head()
        elif self._overdue != self._head_is_overdue:
            self._await(self._head_is_overdue, self._limits.head_seconds)

    def _head_is_overdue(self) -> None:
        self._refuse(408, "timeout_error", f"the head did not come within {self._limits.head_seconds:g} s")

    def _body_is_overdue(self) -> None:
        silent_seconds = 0.0  # while it is the service that takes nothing
        if not self._read_paused:
            silent_seconds = self._loop.time() - max(self._received_at, self._resumed_at)
        left_seconds = self._limits.body_idle_seconds - silent_seconds
        if left_seconds > 0:
            self._await(self._body_is_overdue, left_seconds)
        else:
            self._refuse(408, "timeout_error", f"nothing of the body came for {self._limits.body_idle_seconds:g} s")

    def _all_read(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
            self._unread_seconds += self._loop.time() - self._paused_at

    def _head_size(self) -> int:
        framing_bytes = _HEAD_FRAMING_BYTES * len(self._headers)
        return len(self._url) + sum(map(len, chain.from_iterable(self._headers))) + framing_bytes

    def _refuse_head(self) -> None:
        self._refuse(431, "invalid_request_error", f"the head is above {self._limits.head_bytes} bytes")

    def _refuse(self, status: int, error_type: str, message: str) -> None:
        """Ends the connection, with an answer if none is under way on it.

        It is closed a moment later only: what the client is still sending would reset it, and the answer would be lost.
        """
        if self._answering is not None:
            if self._answering.started:
                self._transport.abort()
                return
            self._leave()
        self._is_refused = True
        if self._receiving is None and self._report is not None:  # no call that would be reported itself
            self._report(HeadRefused(status, self._client[0] if self._client else ""))
        body = json.dumps({"type": "error", "error": {"type": error_type, "message": message}}).encode()
        fields = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close" % len(body)
        self.write(b"%b\r\n%b\r\n\r\n%b" % (status_line(status), fields, body))
        self._write_out()
        self._transport.write_eof()
        self._await(self._transport.abort, _LINGER_SECONDS)


def _split(url: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target."""
    if url.startswith(b"/") and b"#" not in url:
        path, _, query = url.partition(b"?")
        return path, query
    parsed = httptools.parse_url(url)
    return parsed.path, parsed.query or b""
