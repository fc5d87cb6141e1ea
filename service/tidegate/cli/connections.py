"""The server's side of a connection, with bounds on what a client may do to it: uvicorn has none of these."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from tidegate.gateway.asgi import ON_LEAVE

__all__ = ["BoundedProtocol", "ConnectionLimits"]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of a client's connection.

    Attributes:
        head_bytes: size of a request's head.
        head_seconds: from a head's first byte to its last.
        idle_seconds: from the connection to the first byte.
        body_idle_seconds: between two pieces of a body, while the service is ready to take them.
        unread_seconds: how long an answer may wait for a client that does not read: of a Messages call in all, because
            it holds quota; of others at a time.
    """

    head_bytes: int = 65_536
    head_seconds: float = 30.0
    idle_seconds: float = 75.0
    body_idle_seconds: float = 60.0
    unread_seconds: float = 120.0


_MESSAGES: Final = "/v1/messages"
_LINGER_SECONDS: Final = 1.0
_HEAD_FRAMING_BYTES: Final = 4
"""Colon, space and line end of a field."""


class _NotingFlow(FlowControl):
    """Notes since when the client may send."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self.resumed_at = 0.0

    def resume_reading(self) -> None:
        if self.read_paused:
            self.resumed_at = asyncio.get_running_loop().time()
            super().resume_reading()


class BoundedProtocol(HttpToolsProtocol):
    """One connection of a client, with the extension `ON_LEAVE`. A timer runs only while something is due to come."""

    _on_leave: Callable[[], None] | None = None

    def __init__(self, *args: Any, limits: ConnectionLimits, **named: Any) -> None:
        super().__init__(*args, **named)
        self._limits = limits
        self._overdue: asyncio.TimerHandle | None = None
        self._awaits = "first"
        self._received_at = 0.0
        self._head_bytes = 0
        self._is_too_large = False
        self._is_refused = False
        self._unread: asyncio.TimerHandle | None = None
        self._paused_at = 0.0
        self._unread_seconds = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Event loop: connected. The first byte is awaited."""
        super().connection_made(transport)
        self.flow = _NotingFlow(transport)
        self._overdue = self.loop.call_later(self._limits.idle_seconds, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Event loop: the connection is gone."""
        self._await("")
        self._all_read()
        super().connection_lost(exc)
        if self._on_leave is not None:
            self._on_leave()

    def data_received(self, data: bytes) -> None:
        """Event loop: bytes came."""
        if self._is_over():
            return
        self._head_bytes += len(data)
        super().data_received(data)
        if self._is_over():
            return
        cycle = cast("RequestResponseCycle | None", self.cycle)
        scope = cast("dict[str, Any] | None", self.scope)
        if scope is not None and (cycle is None or cycle.scope is not self.scope):
            if self._head_bytes > self._limits.head_bytes:
                self._is_too_large = True
                self.send_400_response("")
            elif self._awaits != "head":
                self._await("head")
                self._overdue = self.loop.call_later(self._limits.head_seconds, self._head_is_overdue)
            return
        self._head_bytes = 0
        if cycle is None or not cycle.more_body or cycle.response_complete:
            self._await("")
            return
        self._received_at = self.loop.time()
        if self._awaits != "body":
            self._await("body")
            self._overdue = self.loop.call_later(self._limits.body_idle_seconds, self._body_is_overdue)

    def on_message_begin(self) -> None:
        """Parser: a request begins."""
        super().on_message_begin()
        self.scope["extensions"] = {ON_LEAVE: self._set_on_leave}  # type: ignore[dict-item]  # ours, not ASGI's

    def on_headers_complete(self) -> None:
        """Parser: a head is complete."""
        if self._head_bytes > self._limits.head_bytes and self._head_size() > self._limits.head_bytes:
            self._is_too_large = True
            raise ValueError("the head is too large")  # the parser reports it as an error of its own
        self._unread_seconds = 0.0
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Event loop: the client does not read as fast as the answer comes."""
        super().pause_writing()
        self._paused_at = self.loop.time()
        in_all = self._unread_seconds if self.scope["path"] == _MESSAGES else 0.0
        left_seconds = max(0.0, self._limits.unread_seconds - in_all)
        self._unread = self.loop.call_later(left_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Event loop: it has caught up."""
        self._all_read()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answers what is not HTTP, or has too large a head."""
        if self._is_too_large:
            self._refuse(431, "invalid_request_error", f"the head is above {self._limits.head_bytes} bytes")
        else:
            self._refuse(400, "invalid_request_error", msg)

    def _set_on_leave(self, on_leave: Callable[[], None] | None) -> None:
        self._on_leave = on_leave
        if on_leave is not None and self not in self.connections:  # it left before anybody asked
            on_leave()

    def _is_over(self) -> bool:
        return self._is_refused or self.transport.is_closing()

    def _await(self, what: str) -> None:
        """Something else is due from now on; nothing, if it is empty."""
        self._awaits = what
        if self._overdue is not None:
            self._overdue.cancel()
            self._overdue = None

    def _head_is_overdue(self) -> None:
        self._refuse(408, "timeout_error", f"the head did not come within {self._limits.head_seconds:g} s")

    def _body_is_overdue(self) -> None:
        flow = cast("_NotingFlow", self.flow)
        silent_seconds = 0.0  # while it is the service that takes nothing
        if not flow.read_paused:
            silent_seconds = self.loop.time() - max(self._received_at, flow.resumed_at)
        left_seconds = self._limits.body_idle_seconds - silent_seconds
        if left_seconds > 0:
            self._overdue = self.loop.call_later(left_seconds, self._body_is_overdue)
        else:
            self._refuse(408, "timeout_error", f"nothing of the body came for {self._limits.body_idle_seconds:g} s")

    def _all_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
            self._unread_seconds += self.loop.time() - self._paused_at

    def _head_size(self) -> int:
        fields = sum(len(name) + len(value) + _HEAD_FRAMING_BYTES for name, value in self.headers)
        return len(self.url) + fields

    def _refuse(self, status: int, error_type: str, message: str) -> None:
        """Ends the connection, with an answer if none is under way on it.

        It is closed a moment later only: what the client is still sending would reset it, and the answer would be lost.
        """
        self._await("")
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started:
                self.transport.abort()
                return
            cycle.disconnected = True  # whoever works on it learns that nobody is there, and sends nothing more
            cycle.message_event.set()
            if self._on_leave is not None:
                self._on_leave()
        self._is_refused = True
        body = json.dumps({"type": "error", "error": {"type": error_type, "message": message}}).encode()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(body)
        self.transport.write(STATUS_LINE[status] + head + body)
        self.transport.write_eof()
        self._overdue = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)
