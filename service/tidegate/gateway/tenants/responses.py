"""Calls the gateway for a response that is read here before the client gets it."""

import asyncio
from typing import Final, NoReturn
from urllib.parse import quote

from tidegate.gateway.receive.request import InvalidCall
from tidegate.http.asgi import App, Message, Send
from tidegate.http.content_coding import decoded

__all__ = ["ReadResponse", "lookup", "readable"]

_MAX_BYTES: Final = 32 * 1024 * 1024
"""The longest response that is read. A page of 1,000 batches is below 1 MB."""
_UNREAD: Final = frozenset({b"accept-encoding", b"content-length", b"transfer-encoding", b"content-type", b"expect"})
_SUCCESS: Final = range(200, 300)
_READ_AGAIN: Final = frozenset({b"content-length", b"content-encoding"})


class ReadResponse:
    """A response that was sent to `send` in place of the client.

    Args:
        passed_to: gets a response that is not JSON at once; None: it is kept as well.

    Attributes:
        is_complete: whether the whole body has arrived.
    """

    def __init__(self, passed_to: Send | None = None) -> None:
        self._passed_to = passed_to
        self._is_passed = False
        self._start: Message = {}
        self._body = bytearray()
        self.is_complete = False

    async def send(self, message: Message) -> None:
        """As in ASGI.

        Raises:
            InvalidCall: 502, the body is too long to be read.
        """
        if message["type"] == "http.response.start":
            self._start = message
            self._is_passed = self._passed_to is not None and not self.is_json
            if not self._is_passed:
                return
        if self._is_passed and self._passed_to is not None:
            await self._passed_to(message)
            return
        self._body += message.get("body", b"")
        self.is_complete = not message.get("more_body", False)
        if len(self._body) > _MAX_BYTES:
            raise _unreadable(f"is longer than {_MAX_BYTES:,} bytes")

    @property
    def has_succeeded(self) -> bool:
        """Whether the status is one of success."""
        return self._start.get("status") in _SUCCESS

    @property
    def is_json(self) -> bool:
        """Whether the response succeeded and its body should be JSON."""
        media_type: bytes = dict(self._start.get("headers", ())).get(b"content-type", b"")
        return self.has_succeeded and media_type.lower().startswith(b"application/json")

    def body(self) -> bytes:
        """The body, without its content coding.

        Raises:
            InvalidCall: 502, it broke off.
        """
        if not self.is_complete:
            raise _unreadable("broke off")
        return decoded(self._start["headers"], bytes(self._body), _MAX_BYTES)

    async def relay(self, send: Send, body: bytes | None = None) -> None:
        """Sends the response on: unchanged, or with another body. If it broke off, it breaks off again."""
        if not self._start or self._is_passed:
            return
        if body is None:
            await send(self._start)
            await send({"type": "http.response.body", "body": bytes(self._body), "more_body": not self.is_complete})
            return
        headers = [field for field in self._start["headers"] if field[0] not in _READ_AGAIN]
        length = (b"content-length", b"%d" % len(body))
        await send({**self._start, "headers": [*headers, length]})
        await send({"type": "http.response.body", "body": body})


def readable(scope: Message) -> Message:
    """The scope of a call whose response is read: it asks for one that is not compressed."""
    headers = [field for field in scope["headers"] if field[0] != b"accept-encoding"]
    return {**scope, "headers": headers, "state": _own_state(scope)}


async def lookup(gateway: App, scope: Message, path: str, query: bytes) -> ReadResponse:
    """Makes another `GET` for a call, with its header fields. It is admitted and reported like any call.

    Raises:
        InvalidCall: 502, the body is too long to be read.
    """
    headers = [field for field in scope["headers"] if field[0] not in _UNREAD]
    changed = {
        "method": "GET",
        "path": path,
        "raw_path": quote(path).encode(),
        "query_string": query,
        "headers": headers,
    }
    response = ReadResponse()
    await gateway({**scope, **changed, "state": _own_state(scope)}, _nothing, response.send)
    return response


def _own_state(scope: Message) -> Message:
    """A state of its own: the response to the client has not begun when that of this call has."""
    state: Message = {**scope.get("state", {})}
    state.pop("fields", None)  # they are not those of the changed call
    return state


async def _nothing() -> NoReturn:
    """Receives nothing: the body, if there is one, is for the call itself."""
    await asyncio.Event().wait()
    raise RuntimeError("never set")


def _unreadable(why: str) -> InvalidCall:
    message = f"the upstream's response {why}, so that it cannot be read for its objects"
    return InvalidCall(message, status=502, error_type="api_error")
