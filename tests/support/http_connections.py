"""A client connection that costs little CPU time: one call at a time over HTTP/1.1, kept alive in between."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httptools

__all__ = ["Answer", "Connection", "Connections", "message_request"]

_KEPT_BYTES: Final = 400
"""Enough for the last event of a stream, and for the beginning of an error."""
_TEXT: Final = "The quick brown fox jumps over the lazy dog. "


def message_request(
    port: int, model: str, body_bytes: int, fields: Mapping[str, str], *, max_tokens: int = 1_024, stream: bool = False
) -> bytes:
    """A Messages call with a prompt of this size and further header fields."""
    text = (_TEXT * (body_bytes // len(_TEXT) + 1))[:body_bytes]
    messages = [{"role": "user", "content": text}]
    body = json.dumps({"model": model, "max_tokens": max_tokens, "stream": stream, "messages": messages}).encode()
    lines = [
        "POST /v1/messages HTTP/1.1",
        f"host: 127.0.0.1:{port}",
        "content-type: application/json",
        "accept-encoding: identity",
        "anthropic-version: 2023-06-01",
        *(f"{name}: {value}" for name, value in fields.items()),
        f"content-length: {len(body)}",
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass(slots=True)
class Answer:
    """The response to a call.

    Attributes:
        status: the HTTP status; 0 if no head was received.
        headers: the fields of the head, names in lower case.
        beginning, end: the first and the last bytes of the body.
        is_complete: whether the whole body was received.
    """

    status: int
    headers: dict[str, str]
    beginning: bytes
    end: bytes
    is_complete: bool


class Connection(asyncio.Protocol):
    """One connection to a server."""

    def __init__(self) -> None:
        self.is_open = True
        self._done: asyncio.Future[None] | None = None
        self._answer = Answer(0, {}, b"", b"", is_complete=False)
        self._parser = httptools.HttpResponseParser(self)

    async def call(self, request: bytes) -> Answer:
        """Sends a request and receives the response, or what comes of it before the connection breaks."""
        self._answer = answer = Answer(0, {}, b"", b"", is_complete=False)
        self._parser = httptools.HttpResponseParser(self)
        self._done = asyncio.get_running_loop().create_future()
        if self.is_open:
            self._transport.write(request)
            try:
                await self._done
            except asyncio.CancelledError:
                self.close()
                raise
        return answer

    def close(self) -> None:
        """Closes the connection at once, also in the middle of a response."""
        self.is_open = False
        self._transport.abort()

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the event loop's signature
        """See `asyncio.Protocol`."""
        self.is_open = False
        self._end()

    def on_header(self, name: bytes, value: bytes) -> None:
        """See `httptools.HttpResponseParser`."""
        self._answer.headers[name.lower().decode()] = value.decode()

    def on_headers_complete(self) -> None:
        """See `httptools.HttpResponseParser`."""
        self._answer.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """See `httptools.HttpResponseParser`."""
        answer = self._answer
        if len(answer.beginning) < _KEPT_BYTES:
            answer.beginning += data[:_KEPT_BYTES]
        answer.end = (answer.end + data)[-_KEPT_BYTES:]

    def on_message_complete(self) -> None:
        """See `httptools.HttpResponseParser`."""
        self._answer.is_complete = True
        if not self._parser.should_keep_alive():
            self.close()
        self._end()

    def _end(self) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_result(None)


class Connections:
    """Connections to a port of the loopback interface, as many as there are calls at a time."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Connection] = []

    async def call(self, request: bytes) -> Answer:
        """Makes a call over an idle connection, or over a new one."""
        while self._idle and not self._idle[-1].is_open:
            self._idle.pop()
        if self._idle:
            connection = self._idle.pop()
        else:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
        answer = await connection.call(request)
        if answer.is_complete and connection.is_open:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """Closes the idle connections."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()
