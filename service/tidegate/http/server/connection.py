"""The server's side of a connection: HTTP/1.1 for an ASGI application, with bounds on what a client may do to it.

uvicorn starts, listens and stops. Its own connections have no such bounds, write heads and bodies apart, and take more
time for a call than the whole limiter.
"""

import asyncio
import random
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from tidegate.core.domain.events import Event, HeadRefused
from tidegate.core.ports.transport import Headers
from tidegate.http.server.connection_limits import ConnectionLimits
from tidegate.http.server.exchange import Exchange, status_line
from tidegate.http.write_batching import LARGE_BYTES, WriteBatcher

if TYPE_CHECKING:
    from tidegate.http.asgi import App

__all__ = ["ClientConnection", "ErrorResponse", "plain_error"]


_MESSAGES: Final = "/v1/messages"
_VERSIONS: Final = frozenset({"1.0", "1.1"})
_MAX_WAITING: Final = 16
"""Requests that may wait behind the one that is being answered."""
_MAX_WAITING_BYTES: Final = 64 * 1024
"""While they have fewer bytes than this, reading goes on: so it is noticed that their client leaves."""
_MAX_IGNORED_BYTES: Final = 256 * 1024
_FRAMING_PER_CHUNK_BYTES: Final = 16
_FRAMING_PER_BYTE: Final = 2
"""What may frame a body of many small chunks, so that none of it counts as excessive. Go's server allows as much."""
_LINGER_SECONDS: Final = 1.0
_HEAD_FRAMING_BYTES: Final = 4
"""Colon, space and line end of a field."""
_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_Refusal = tuple[int, str, str]
"""Status, error type and message."""
_INVALID: Final = (400, "invalid_request_error", "Invalid HTTP request received.")
_INVALID_URL: Final = (
    400,
    _INVALID[1],
    "the URL has a character that is not allowed: percent-encode all but visible ASCII",
)


ErrorResponse = Callable[[str, str, str], tuple[Headers, bytes]]
"""Makes the answer to a request that is refused by the server itself: from an error type, a message and a request id to
header fields and body."""


def plain_error(_error_type: str, message: str, _request_id: str) -> tuple[Headers, bytes]:
    """An error as plain text."""
    return ((b"content-type", b"text/plain; charset=utf-8"),), message.encode()


class ClientConnection(asyncio.Protocol):
    """One connection of a client: the `Peer` of its exchanges. The `write_batcher` says when to write.

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
        write_batcher: WriteBatcher,
        report: Callable[[Event], None] | None = None,
        error_response: ErrorResponse = plain_error,
    ) -> None:
        self.write_paused = False
        self._loop = _loop or asyncio.get_running_loop()
        self._app = cast("App", config.loaded_app)
        self._app_state = app_state
        self._state = server_state
        self._keep_alive_seconds = config.timeout_keep_alive
        self._limits = limits
        self._write_batcher = write_batcher
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0
        self._report = report
        self._error_response = error_response
        self._parser = self._new_parser()
        self._transport: asyncio.Transport
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._in_head = False
        self._framing_bytes = 0  # of a head, or of a body's chunk extensions and trailers
        self._upgrades = False
        self._receiving: Exchange | None = None
        self._answering: Exchange | None = None
        self._waiting: list[Exchange] = []
        self._waiting_bytes = 0
        self._reason = _INVALID  # why a request is refused
        self._refusal: _Refusal | None = None  # that goes out after the answers to the requests before
        self._is_deaf = False  # what comes is ignored
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
        if self._transport.is_closing():
            return
        self._framing_bytes += len(data)
        if self._is_deaf:
            if self._framing_bytes > _MAX_IGNORED_BYTES:
                self.hold_back()
            return
        try:
            self._parse(data)
        except httptools.HttpParserError as error:
            if not self._is_deaf:
                self._refuse(_INVALID_URL if isinstance(error, httptools.HttpParserInvalidURLError) else self._reason)
            return
        self._after(len(data))

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
        parser = self._parser
        changes_protocol = parser.should_upgrade()
        if changes_protocol and parser.get_method() != b"CONNECT":
            self._upgrades = True  # the parser passes over the body then: `_parse` sees to it
            return
        if self._answering is not None and len(self._waiting) >= _MAX_WAITING:
            # Whoever sends more is told by the end of the connection to send the rest again (RFC 9112 section 9.3.2).
            self._waiting[-1].keep_alive = False
            self._stop_listening()
            raise ValueError("too many requests at once")  # the parser reports it as an error of its own
        version = parser.get_http_version()
        headers = self._headers
        fields = dict(headers)
        is_usual = version == "1.1" and b"host" in fields and len(fields) == len(headers) <= self._limits.head_fields
        is_short = self._framing_bytes <= self._limits.head_bytes
        if not (is_usual and is_short) and (reason := self._unacceptable(version)) is not None:
            self._reason = reason
            raise ValueError("a head that is refused")  # as above
        self._headers = []
        self._in_head = False
        self._framing_bytes = 0
        raw_path, query = _split(self._url)
        path = raw_path.decode("ascii")
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
            keep_alive=version == "1.1" and parser.should_keep_alive() and not changes_protocol,
            expects_continue=fields.get(b"expect", b"").lower() == b"100-continue",
        )
        if self._answering is None:
            self._start(exchange)
        else:
            self._waiting.append(exchange)

    def on_body(self, body: bytes) -> None:
        """Parser: a part of the body."""
        if self._receiving is not None:
            if self._framing_bytes:
                allowed_bytes = (1 + _FRAMING_PER_BYTE) * len(body) + _FRAMING_PER_CHUNK_BYTES
                self._framing_bytes = max(0, self._framing_bytes - allowed_bytes)
            self._receiving.take(body)

    def on_message_complete(self) -> None:
        """Parser: the end of a request."""
        if self._receiving is not None:
            self._receiving.end_body()
            self._receiving = None
            self._framing_bytes = 0

    # The exchanges' side.

    def write(self, data: bytes) -> None:
        """As `Peer.write`."""
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if len(self._unsent) == 1:
            self._write_batcher.put(self._write_out, len(data))
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
        """As `Peer.take_more`; not while requests wait that came behind the one under way."""
        if self._read_paused and not (self._waiting or self._is_deaf) and not self._transport.is_closing():
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
        elif self._refusal is not None:
            self._refuse(self._refusal)
        else:
            self._await(self._transport.close, self._keep_alive_seconds)
        if not self._waiting:
            self._waiting_bytes = 0
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

    @property
    def transport(self) -> asyncio.Transport:
        """The way to the client, by the name that it has in uvicorn's own connections."""
        return self._transport

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        # What a client sends behind a request that ends the connection is no fault of that request.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _parse(self, data: bytes) -> None:
        """Feeds the parser.

        A request that asks for another protocol (`Upgrade`) is parsed again without that field, because no other
        protocol is spoken here, and the request stands for itself (RFC 9110 section 7.8).
        """
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                if not self._upgrades:
                    return  # CONNECT, after which nothing is HTTP
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
                self._parser = self._new_parser()
                self._upgrades = False
            else:
                return

    def _head_without_upgrade(self) -> bytes:
        headers, self._headers = self._headers, []
        version = self._parser.get_http_version().encode()
        lines = [b"%b %b HTTP/%b" % (self._parser.get_method(), self._url, version)]
        lines += [b"%b: %b" % field for field in headers if field[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])

    def _after(self, size_bytes: int) -> None:
        """Bounds what has come in size, and sets the time for what is to come."""
        if self._in_head:
            self._head_goes_on()
            return
        if self._framing_bytes > self._limits.head_bytes and self._receiving is not None:
            max_bytes = self._limits.head_bytes
            self._refuse((400, _INVALID[1], f"more than {max_bytes} bytes of trailers or chunk extensions"))
            return
        if self._waiting:
            self._waiting_bytes += size_bytes
            if self._waiting_bytes > _MAX_WAITING_BYTES:
                self.hold_back()
        if self._receiving is not None and not self._receiving.complete:
            self._received_at = self._loop.time()
            if self._overdue != self._body_is_overdue:
                self._await(self._body_is_overdue, self._limits.body_idle_seconds)
        elif self._overdue is not None and self._overdue != self._transport.close:
            self._overdue = None

    def _unacceptable(self, version: str) -> _Refusal | None:
        """Why a head that is well formed is refused, if it is."""
        limits, headers = self._limits, self._headers
        if self._framing_bytes > limits.head_bytes and self._head_size() > limits.head_bytes:
            return self._too_large()
        if len(headers) > limits.head_fields:
            return 431, _INVALID[1], f"the head has more than {limits.head_fields} fields"
        if version not in _VERSIONS:
            return 505, _INVALID[1], f"HTTP/{version} is not spoken here; HTTP/1.1 is"
        hosts = [name for name, _ in headers if name == b"host"]
        if len(hosts) > 1 or (not hosts and version == "1.1"):  # RFC 9112 section 3.2
            return 400, _INVALID[1], f"the head has {len(hosts)} Host fields; exactly one is allowed"
        return None

    def _stop_listening(self) -> None:
        self._is_deaf = True
        self._framing_bytes = 0

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
        if self._framing_bytes > self._limits.head_bytes:
            self._refuse(self._too_large())
        elif self._overdue != self._head_is_overdue:
            self._await(self._head_is_overdue, self._limits.head_seconds)

    def _head_is_overdue(self) -> None:
        self._refuse((408, "timeout_error", f"the head did not come within {self._limits.head_seconds:g} s"))

    def _body_is_overdue(self) -> None:
        silent_seconds = 0.0  # while it is the service that takes nothing
        if not self._read_paused:
            silent_seconds = self._loop.time() - max(self._received_at, self._resumed_at)
        left_seconds = self._limits.body_idle_seconds - silent_seconds
        if left_seconds > 0:
            self._await(self._body_is_overdue, left_seconds)
        else:
            self._refuse((408, "timeout_error", f"nothing of the body came for {self._limits.body_idle_seconds:g} s"))

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

    def _too_large(self) -> _Refusal:
        return 431, _INVALID[1], f"the head is above {self._limits.head_bytes} bytes"

    def _refuse(self, refusal: _Refusal) -> None:
        """Refuses the request that is being received, and ends the connection.

        Requests before it that came whole are answered first. The connection is closed a moment later only: what the
        client is still sending would reset it, and the answer would be lost.
        """
        self._stop_listening()
        receiving, answering = self._receiving, self._answering
        if receiving is not None and receiving.complete:
            self._transport.abort()  # it has its answer
            return
        if answering is not None and answering is not receiving:
            self._refusal = refusal
            self._overdue = self._receiving = None
            if receiving is not None:
                self._waiting.remove(receiving)
            return
        if answering is not None:
            if answering.started:
                self._transport.abort()
                return
            self._leave()
        status, error_type, message = refusal
        request_id = f"tg_{random.getrandbits(128):032x}"
        if self._receiving is None and self._report is not None:  # no call that would be reported itself
            self._report(HeadRefused(status, self._client[0] if self._client else "", request_id))
        headers, body = self._error_response(error_type, message, request_id)
        framing = ((b"content-length", b"%d" % len(body)), (b"connection", b"close"))
        fields = b"\r\n".join(b"%b: %b" % field for field in (*headers, *framing))
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
