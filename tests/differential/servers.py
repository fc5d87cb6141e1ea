"""Serves a byte stream with our connection, and with stock uvicorn's on httptools and on h11."""

import asyncio
import logging
import re
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from differential.memory_transport import MemoryTransport, feed, hang_up
from differential.streams import Stream
from tidegate.http.server.connection import ClientConnection, DrainableState
from tidegate.http.server.connection_limits import ConnectionLimits
from tidegate.http.server.request_parser import RequestRefused
from tidegate.http.write_batching import WriteBatcher

SERVERS = ("tidegate", "httptools", "h11")
_CONTINUE = re.compile(rb"HTTP/1\.1 100 [^\r]*\r\n\r\n")
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n")
_CONNECTION = re.compile(rb"connection: [^\r]*\r\n", re.IGNORECASE)

logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)


@dataclass
class Seen:
    """A request as the application received it. `whole`: its body is complete."""

    method: str
    target: tuple[str, bytes, bytes]
    version: str
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    whole: bool = False


@dataclass
class Served:
    """The result of serving a stream.

    Attributes:
        requests: The requests that the application received.
        answers: The application's responses as sent, without `connection` fields.
        refused: The status of the server's own error after them; 0 without one.
        reason: The error of the parser; empty without one.
        closed: Whether the server closed the connection.
    """

    requests: list[Seen] = field(default_factory=list)
    answers: bytes = b""
    refused: int = 0
    reason: str = ""
    closed: bool = False


class _OurConnection(ClientConnection):
    reason = ""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        feed = self._requests.feed

        def noting(data: bytes) -> None:
            try:
                feed(data)
            except RequestRefused as error:
                self.reason = "" if error.__cause__ is None else str(error.__cause__)
                raise

        self._requests.feed = noting  # type: ignore[method-assign]


class _Httptools(HttpToolsProtocol):
    reason = ""

    def send_400_response(self, msg: str) -> None:
        self.reason = msg
        super().send_400_response(msg)


class _Events:
    """Wraps h11's connection and keeps its error."""

    def __init__(self, connection: h11.Connection) -> None:
        self._connection = connection
        self.reason = ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def next_event(self) -> Any:
        try:
            return self._connection.next_event()
        except h11.RemoteProtocolError as error:
            self.reason = str(error)
            raise


class _H11(H11Protocol):
    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.conn = _Events(self.conn)  # type: ignore[assignment]

    @property
    def reason(self) -> str:
        return str(self.conn.reason)  # type: ignore[attr-defined]


class Application:
    """Reads each request and responds; in chunks for paths with an `x`, if the client supports it."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        target = scope["path"], scope["raw_path"], scope["query_string"]
        seen = Seen(scope["method"], target, scope["http_version"], list(scope["headers"]))
        self.seen.append(seen)
        while not seen.whole:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            seen.body += message.get("body", b"")
            seen.whole = not message.get("more_body", False)
        body = b"answer %d" % len(self.seen)
        in_chunks = "x" in scope["path"] and seen.version == "1.1" and seen.method != "HEAD"
        length = [] if in_chunks else [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"date", b"now"), *length]})
        await send({"type": "http.response.body", "body": body})


class Servers:
    """Serves streams, one after the other, in the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(self._note)
        self.failures: list[dict[str, Any]] = []
        ours = partial(_OurConnection, limits=ConnectionLimits(), write_batcher=WriteBatcher())
        self._made: dict[str, Any] = {"tidegate": ours, "httptools": _Httptools, "h11": _H11}

    def _note(self, _loop: asyncio.AbstractEventLoop, failure: dict[str, Any]) -> None:
        if not isinstance(failure.get("exception"), h11.LocalProtocolError):  # as below
            self.failures.append(failure)

    async def serve(self, name: str, stream: Stream) -> Served:
        """Serve a stream with one of `SERVERS`."""
        app, state = Application(), DrainableState()
        config = uvicorn.Config(
            app,
            http=self._made[name],
            ws="none",
            lifespan="off",
            log_config=None,
            proxy_headers=False,
            access_log=False,
        )
        config.load()
        connection = self._made[name](config=config, server_state=state, app_state={}, _loop=self._loop)
        transport = MemoryTransport(connection, self._loop)
        connection.connection_made(transport)
        try:
            await feed(connection, transport, stream.pieces())
        except h11.LocalProtocolError:
            transport.close()  # uvicorn cannot refuse a request after a response has started
        closed = transport.ended
        await hang_up(connection, transport)
        assert not state.tasks, "an application is still running after its client has disconnected"
        served = _read(bytes(transport.written))
        served.requests, served.closed, served.reason = app.seen, closed, connection.reason
        return served


def _read(written: bytes) -> Served:
    """Separate the application's responses from the server's error at the end."""
    served = Served()
    answers = _CONTINUE.sub(b"", written)
    last = max((found for found in _STATUS.finditer(answers)), key=lambda found: found.start(), default=None)
    if last is not None and last[1] != b"200":
        served.refused = int(last[1])
        answers = answers[: last.start()]
    served.answers = _CONNECTION.sub(b"", answers).replace(b"Transfer-Encoding", b"transfer-encoding")
    return served
