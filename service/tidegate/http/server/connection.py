"""One connection of a client: HTTP/1.1 for an ASGI application, with limits on what the client may do.

uvicorn listens, starts and stops. Its own connections have no such limits, write heads and bodies separately, and take
more time per call than the whole limiter.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, cast

import uvicorn
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from tidegate.core.domain.events import Event, HeadRefused
from tidegate.core.ports.transport import Headers
from tidegate.http.request_id import new_request_id
from tidegate.http.server.connection_limits import ConnectionLimits
from tidegate.http.server.exchange import Exchange
from tidegate.http.server.lazy_timer import LazyTimer
from tidegate.http.server.request_parser import Refusal, RequestParser, RequestRefused
from tidegate.http.server.response_framing import status_line
from tidegate.http.server.response_writer import ResponseWriter
from tidegate.http.write_batching import WriteBatcher

if TYPE_CHECKING:
    from tidegate.http.asgi import App

__all__ = ["ClientConnection", "DrainableState", "ErrorResponse", "plain_error"]

_MAX_PIPELINED: Final = 16
"""Requests that may wait for the response to the one before them."""
_MAX_PIPELINED_BYTES: Final = 64 * 1024
"""Reading goes on until the waiting requests have so many bytes, because only reading shows a disconnect."""
_MAX_IGNORED_BYTES: Final = 256 * 1024
_LINGERING_CLOSE_SECONDS: Final = 1.0
"""A connection stays open this long after an error response. The client may still be sending: a close would reset the
connection, and the client would lose the response."""

ErrorResponse = Callable[[str, str, str], tuple[Headers, bytes]]
"""Makes the response to a request that the server itself refuses: from an error type, a message and a request id to
header fields and body."""


def plain_error(_error_type: str, message: str, _request_id: str) -> tuple[Headers, bytes]:
    """An error as plain text."""
    return ((b"content-type", b"text/plain; charset=utf-8"),), message.encode()


class DrainableState(ServerState):
    """The state that the connections of one server share.

    Attributes:
        is_draining: the server stops soon, so each connection ends with its next response.
    """

    is_draining = False


class ClientConnection(asyncio.Protocol):
    """One connection of a client. Requests on it are answered one after the other; up to 16 may wait.

    Args:
        config: uvicorn's configuration.
        server_state: the server's connections and tasks.
        app_state: the state that the application's lifespan has set.
        limits: limits on what the client may do.
        write_batcher: decides when to write.
        report: receives a `HeadRefused` for each request that is refused before the application sees it.
        error_response: makes the response to a refused request.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: DrainableState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: ConnectionLimits,
        write_batcher: WriteBatcher,
        report: Callable[[Event], None] | None = None,
        error_response: ErrorResponse = plain_error,
    ) -> None:
        self._loop = _loop or asyncio.get_running_loop()
        self._app = cast("App", config.loaded_app)
        self._app_state = app_state
        self._state = server_state
        self._keep_alive_seconds = config.timeout_keep_alive
        self._limits = limits
        self._report = report
        self._error_response = error_response
        self._requests = RequestParser(limits, self)
        self._writer = ResponseWriter(self._loop, write_batcher, limits.unread_seconds)
        self._timer = LazyTimer(self._loop)
        self._transport: asyncio.Transport
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._answering: Exchange | None = None
        self._pipelined: list[Exchange] = []
        self._pipelined_bytes = 0
        self._pending_refusal: Refusal | None = None  # sent after the responses to the requests before it
        self._ignores_input = False
        self._ignored_bytes = 0
        self._read_paused = False
        self._received_at = self._resumed_at = 0.0
        self._is_new = True

    # Callbacks of the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._writer.connected(self._transport)
        self._client = get_remote_addr(self._transport)
        self._server = get_local_addr(self._transport)
        self._state.connections.add(cast("Any", self))
        self._timer.set(self._close_idle, self._limits.idle_seconds)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the event loop's signature
        """The connection is gone."""
        self._state.connections.discard(cast("Any", self))
        self._timer.close()
        self._writer.close()
        if self._answering is not None:
            self._answering.disconnect()
        # Thousands of connections in reference cycles would make the garbage collector stop the event loop.
        self._requests.close()
        self._answering = None
        self._pipelined.clear()

    def data_received(self, data: bytes) -> None:
        """Bytes arrived."""
        if self._transport.is_closing():
            return
        if self._ignores_input:
            self._ignored_bytes += len(data)
            if self._ignored_bytes > _MAX_IGNORED_BYTES:
                self.pause_reading()
            return
        try:
            self._requests.feed(data)
        except RequestRefused as error:
            if not self._ignores_input:
                self._refuse(error.refusal)
            return
        self._set_timer()
        if self._pipelined and not self._requests.in_head:
            self._pipelined_bytes += len(data)
            if self._pipelined_bytes > _MAX_PIPELINED_BYTES:
                self.pause_reading()

    def eof_received(self) -> None:
        """The client will send no more. Returning nothing closes the connection."""

    def pause_writing(self) -> None:
        """The client does not read as fast as the response comes."""
        answering = self._answering
        in_total = answering is not None and answering.scope["path"] in self._limits.total_unread_paths
        self._writer.pause(in_total=in_total)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writer.resume()

    # Callbacks of the parser; see `RequestHandler`.

    def accepts_request(self) -> bool:
        """Whether another request may begin."""
        if self._answering is None or len(self._pipelined) < _MAX_PIPELINED:
            return True
        # The end of the connection tells the client to send the other requests again (RFC 9112 section 9.3.2).
        self._pipelined[-1].keep_alive = False
        self._ignore_input()
        return False

    def begin_request(self, scope: dict[str, Any], fields: dict[bytes, bytes], *, keep_alive: bool) -> Exchange:
        """Starts a request, or lets it wait for the one before it."""
        scope["server"] = self._server
        scope["client"] = self._client
        scope["scheme"] = "http"
        scope["root_path"] = ""
        scope["state"] = {**self._app_state, "fields": fields}
        expects_continue = fields.get(b"expect", b"").lower() == b"100-continue"
        exchange = Exchange(
            scope,
            self,
            self._writer,
            self._loop,
            keep_alive=keep_alive and not self._state.is_draining,
            expects_continue=expects_continue,
        )
        self._timer.callback = None
        self._is_new = False
        if self._answering is None:
            self._start(exchange)
        else:
            self._pipelined.append(exchange)
        return exchange

    # Callbacks of the exchanges; see `ExchangeConnection`.

    def pause_reading(self) -> None:
        """Reads no more for now."""
        if not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Reads again, unless requests wait or input is ignored."""
        if self._read_paused and not (self._pipelined or self._ignores_input) and not self._transport.is_closing():
            self._read_paused = False
            self._resumed_at = self._loop.time()
            self._transport.resume_reading()

    def response_aborted(self) -> None:
        """The response will not be completed: closes the connection after what was written."""
        self._close()

    def response_completed(self, exchange: Exchange) -> None:
        """Starts the next request, or waits for it."""
        self._answering = None
        if not exchange.keep_alive:
            self._close()
        if self._transport.is_closing():
            return
        if self._pipelined:
            self._start(self._pipelined.pop(0))
        elif self._pending_refusal is not None:
            self._refuse(self._pending_refusal)
        else:
            self._timer.set(self._close_idle, self._keep_alive_seconds)
        if not self._pipelined:
            self._pipelined_bytes = 0
        if self._read_paused:
            self.resume_reading()

    def application_returned(self, exchange: Exchange) -> None:
        """Forgets the task of an exchange."""
        if exchange.task is not None:
            self._state.tasks.discard(exchange.task)

    # The server's side.

    def shutdown(self) -> None:
        """The service stops: closes the connection after the response under way."""
        if self._answering is None:
            self._close()
        else:
            self._answering.keep_alive = False

    @property
    def is_new(self) -> bool:
        """Whether no request has come yet: the client may be just sending its first."""
        return self._is_new

    def close_after_response(self) -> None:
        """Ends the connection with the response under way, if that can still say so."""
        if self._answering is not None and not self._answering.started:
            self._answering.keep_alive = False

    @property
    def transport(self) -> asyncio.Transport:
        """The transport, under the name that it has in uvicorn's own connections."""
        return self._transport

    def _start(self, exchange: Exchange) -> None:
        self._answering = exchange
        self._writer.begin_response()
        task = exchange.task = self._loop.create_task(exchange.run(self._app))
        self._state.tasks.add(task)

    def _close(self) -> None:
        """Closes the connection once what was written has been sent."""
        self._writer.flush()
        self._transport.close()

    def _close_idle(self) -> None:
        self._transport.close()

    def _ignore_input(self) -> None:
        self._ignores_input = True
        self._ignored_bytes = 0

    # Deadlines of what the client sends.

    def _set_timer(self) -> None:
        """Sets the deadline for what is to come next."""
        timer, exchange = self._timer, self._requests.exchange
        if self._requests.in_head:
            if timer.callback != self._head_is_late:
                timer.set(self._head_is_late, self._limits.head_seconds)
        elif exchange is not None and not exchange.complete:
            self._received_at = self._loop.time()
            if timer.callback != self._body_is_late:
                timer.set(self._body_is_late, self._limits.body_idle_seconds)
        elif timer.callback is not None and timer.callback != self._close_idle:
            timer.callback = None

    def _head_is_late(self) -> None:
        message = f"the head did not arrive within {self._limits.head_seconds:g} s"
        self._refuse(Refusal(408, "timeout_error", message))

    def _body_is_late(self) -> None:
        silent_seconds = 0.0  # while the service itself does not read
        if not self._read_paused:
            silent_seconds = self._loop.time() - max(self._received_at, self._resumed_at)
        left_seconds = self._limits.body_idle_seconds - silent_seconds
        if left_seconds > 0:
            self._timer.set(self._body_is_late, left_seconds)
        else:
            message = f"nothing of the body arrived for {self._limits.body_idle_seconds:g} s"
            self._refuse(Refusal(408, "timeout_error", message))

    def _refuse(self, refusal: Refusal) -> None:
        """Refuses the request that is being received, and ends the connection.

        Requests before it that arrived whole are answered first.
        """
        self._ignore_input()
        receiving, answering = self._requests.exchange, self._answering
        if receiving is not None and receiving.complete:
            self._transport.abort()  # the client has its response
            return
        if answering is not None and answering is not receiving:
            self._pending_refusal = refusal
            self._timer.callback = self._requests.exchange = None
            if receiving is not None:
                self._pipelined.remove(receiving)
            return
        if answering is not None:
            if answering.started:
                self._transport.abort()
                return
            answering.disconnect()
        self._send_refusal(refusal, is_reported=receiving is not None)

    def _send_refusal(self, refusal: Refusal, *, is_reported: bool) -> None:
        """Sends an error response and closes the connection. `is_reported`: the application reports the request."""
        request_id = new_request_id()
        if not is_reported and self._report is not None:
            self._report(HeadRefused(refusal.status, self._client[0] if self._client else "", request_id))
        headers, body = self._error_response(refusal.error_type, refusal.message, request_id)
        framing = ((b"content-length", b"%d" % len(body)), (b"connection", b"close"))
        fields = b"\r\n".join(b"%b: %b" % field for field in (*headers, *framing))
        self._writer.write(b"%b\r\n%b\r\n\r\n%b" % (status_line(refusal.status), fields, body))
        self._writer.flush()
        self._transport.write_eof()
        self._timer.set(self._transport.abort, _LINGERING_CLOSE_SECONDS)
