"""Sends the response of one call to its client: relayed, made here, or begun with comments while the call waits."""

import json
from collections.abc import Sequence
from typing import Any, Final

from tidegate.core.claude.header_names import (
    SHOULD_RETRY,
    TIDEGATE_ATTEMPTS,
    TIDEGATE_BUDGET_REMAINING,
    TIDEGATE_COST_USD,
    TIDEGATE_QUEUE_MS,
    TIDEGATE_REQUEST_ID,
    TIDEGATE_UPSTREAM,
)
from tidegate.core.claude.spend_cap import is_spend_cap
from tidegate.core.domain.errors import UpstreamError
from tidegate.core.failures.retry_policy import lacks_fast_mode, retry_reason
from tidegate.core.ports.transport import Fields, Headers
from tidegate.gateway.call import Call
from tidegate.gateway.forwarded_headers import for_client, is_event_stream
from tidegate.gateway.gateway_errors import LocalResponse, error_body
from tidegate.gateway.relay.json_reading import json_object
from tidegate.gateway.relay.upstream_errors import MAX_ERROR_BODY_BYTES, StreamError
from tidegate.http.asgi import Send, ServerExchange
from tidegate.http.content_coding import decoded

__all__ = ["ClientResponse"]

_REQUEST_ID, _QUEUE_MS, _ATTEMPTS, _UPSTREAM = (
    name.encode() for name in (TIDEGATE_REQUEST_ID, TIDEGATE_QUEUE_MS, TIDEGATE_ATTEMPTS, TIDEGATE_UPSTREAM)
)
_TIDEGATE_FIELDS: Final = frozenset(
    {_REQUEST_ID, _QUEUE_MS, _ATTEMPTS, TIDEGATE_COST_USD.encode(), TIDEGATE_BUDGET_REMAINING.encode()}
)
"""Fields that the upstream also sends if it is another Tidegate."""
_TIDEGATE_FIELDS_AND_UPSTREAM: Final = _TIDEGATE_FIELDS | {_UPSTREAM}
_EVENT_STREAM: Final = ((b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache"))


class ClientResponse:
    """Sends the response of one call, and adds Tidegate's header fields.

    Args:
        call: the call; its status is set.
        extra_headers: header fields that every response of the service has.
        send: as in ASGI.
        exchange: the server's extension `EXCHANGE`, if it has it.

    Attributes:
        began_with_comment: whether the stream was begun before there was a response: its status is 200 in any case.
    """

    __slots__ = ("_call", "_exchange", "_extra_headers", "_replaced", "_send", "_takes_events", "began_with_comment")

    def __init__(
        self,
        call: Call,
        extra_headers: Sequence[tuple[bytes, bytes]],
        send: Send,
        exchange: ServerExchange | None = None,
    ) -> None:
        self.began_with_comment = False
        self._takes_events = False  # whether an event of our own can be sent
        self._call = call
        self._extra_headers = extra_headers
        self._replaced = _TIDEGATE_FIELDS_AND_UPSTREAM if extra_headers else _TIDEGATE_FIELDS
        self._send = send
        # Middleware may have replaced `send`: then the extension must not bypass it.
        self._exchange = exchange if exchange is not None and send == exchange.send else None

    @property
    def is_direct(self) -> bool:
        """Whether no middleware is between here and the server."""
        return self._exchange is not None

    async def comment(self, text: bytes, headers: Headers) -> None:
        """Sends a comment to a client that waits for its stream. The first one begins the response, with `headers`."""
        if not self.began_with_comment:
            await self._start(200, (*_EVENT_STREAM, *headers))
            self.began_with_comment = self._takes_events = True
        await self.part(text)

    async def start(self, status: int, headers: Headers, fields: Fields) -> None:
        """Sends the upstream's status and header fields, unless the stream was begun with a comment."""
        if not self.began_with_comment:
            self._takes_events = is_event_stream(fields) and b"content-encoding" not in fields
            await self._start(status, for_client(headers, fields, self._replaced))

    async def whole(self, status: int, headers: Headers, fields: Fields, data: bytes) -> None:
        """Sends a whole response of the upstream; only its body, if the stream was begun with a comment."""
        if not self.began_with_comment:
            sent = self._fields(status, for_client(headers, fields, self._replaced))
            if self._exchange is not None and self._exchange.respond(status, sent, data):
                return
            await self._send({"type": "http.response.start", "status": status, "headers": sent})
        await self.end(data)

    async def part(self, data: bytes) -> None:
        """Sends a part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, data: bytes) -> None:
        """Sends the last part of the body, which may be empty."""
        await self._send({"type": "http.response.body", "body": data})

    async def local(self, response: LocalResponse) -> None:
        """Sends a response that was made here; as an event, if the stream was begun with a comment."""
        if self.began_with_comment:
            await self._error_event(json_object(response.body), retryable=response.should_retry)
            return
        await self._start(response.status, response.headers)
        await self._send({"type": "http.response.body", "body": response.body})

    async def error(self, error: UpstreamError) -> None:
        """Relays an error of the upstream unchanged; as an event, if the stream was begun with a comment."""
        is_stream = isinstance(error, StreamError)
        if self.began_with_comment and not is_stream:
            fields = json_object(decoded(error.headers, error.body, MAX_ERROR_BODY_BYTES))
            if not isinstance(fields.get("error"), dict):
                fields = json_object(error_body("api_error", str(error), self._call.request_id))
            await self._error_event(fields, retryable=retry_reason(error) is not None)
            return
        headers: Headers = error.headers
        if is_spend_cap(error) or lacks_fast_mode(error):
            should_retry = SHOULD_RETRY.encode()
            headers = [*(field for field in headers if field[0] != should_retry), (should_retry, b"false")]
        await self.start(error.status, headers, dict(headers))
        broken = isinstance(error, StreamError) and error.broken
        await self._send({"type": "http.response.body", "body": error.body, "more_body": broken})

    async def end_stream_with_error(self, message: str) -> None:
        """Ends an event stream that was begun with an error event; does nothing for any other response.

        The empty lines in front end an event that was relayed only in part.
        """
        if self._takes_events:
            body = error_body("api_error", message, self._call.request_id)
            await self._send({"type": "http.response.body", "body": b"\n\nevent: error\ndata: %b\n\n" % body})

    async def _error_event(self, body: dict[str, Any], *, retryable: bool) -> None:
        """Ends a stream that was begun with a comment, with an error.

        An error that may be retried is an `overloaded_error`, which is the one that the API sends within streams.
        Claude Code 2.1.332 repeats the call as a stream after this type alone, up to 10 times. After any other type it
        makes the call once more without a stream, whose wait no comment can prolong (measured 2026-12-01).
        """
        if retryable:
            body = {**body, "error": {**body["error"], "type": "overloaded_error"}}
        text = json.dumps(body, ensure_ascii=False).encode()
        await self._send({"type": "http.response.body", "body": b"event: error\ndata: %b\n\n" % text})

    async def _start(self, status: int, headers: Headers) -> None:
        fields = self._fields(status, headers)
        await self._send({"type": "http.response.start", "status": status, "headers": fields})

    def _fields(self, status: int, headers: Headers) -> list[tuple[bytes, bytes]]:
        call = self._call
        call.status = status
        return [
            *headers,
            (_REQUEST_ID, call.request_id.encode()),
            (_QUEUE_MS, b"%d" % call.queued_ms),
            (_ATTEMPTS, b"%d" % call.attempts),
            *call.spending_headers,
            *self._extra_headers,
        ]
