"""Rewrites the URL of a batch's results: the only value in a body that the gateway changes.

The API sends an absolute URL, and SDKs call it unchanged (Python SDK 2.12.0, TypeScript SDK 1.14.0:
`messages.batches.results`). Without the change, clients would bypass the gateway, with a key that the API does not
know.
"""

import re
from collections.abc import Callable
from typing import Final

from tidegate.gateway.receive.request import BATCHES_ROUTE
from tidegate.http.asgi import App, Message, Receive, Send

__all__ = ["BatchResultUrls"]

_RESULTS_URL: Final = re.compile(rb'("results_url"\s*:\s*")https?://[^"/]+[^"]*?(/v1/messages/batches/[\w-]+/results")')
_MAX_BYTES: Final = 4 * 1024 * 1024
"""A page of 1,000 batches is below 1 MB. Longer bodies are relayed unchanged."""
_FORWARDED_SCHEME: Final = b"x-forwarded-proto"


class BatchResultUrls:
    """Wraps the gateway. In responses about batches, `results_url` begins with the URL that the client has called.

    The host is the request's `host`. The scheme is that of the connection, or `x-forwarded-proto` from a trusted proxy.
    Such responses are requested uncompressed. Everything else is relayed unchanged.

    Args:
        gateway: the wrapped application.
        trusts: whether the address of a peer belongs to a trusted proxy.
    """

    def __init__(self, gateway: App, trusts: Callable[[str | None], bool] = lambda _: False) -> None:
        self._gateway = gateway
        self._trusts = trusts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serves one HTTP call."""
        path = scope["path"]
        if not path.startswith(BATCHES_ROUTE) or path.endswith("/results"):
            await self._gateway(scope, receive, send)
            return
        peer = scope.get("client")
        url = _own_url(scope, is_proxied=self._trusts(peer[0] if peer else None))
        if url is None:
            await self._gateway(scope, receive, send)
            return
        headers = [field for field in scope["headers"] if field[0] != b"accept-encoding"]
        response = _BufferedResponse(send, url)
        await self._gateway({**scope, "headers": headers}, receive, response.send)
        await response.flush()


class _BufferedResponse:
    """Buffers a response until its body is whole, or too long."""

    def __init__(self, send: Send, url: bytes) -> None:
        self._send = send
        self._url = url
        self._start: Message | None = None
        self._body = b""

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and _is_plain_json(message):
            self._start = message
        elif self._start is None:
            await self._send(message)
        else:
            self._body += message.get("body", b"")
            if len(self._body) > _MAX_BYTES:
                await self.flush()
            elif not message.get("more_body", False):
                await self._finish(self._start)

    async def flush(self) -> None:
        """Sends what was buffered unchanged. If the response broke off, nothing more will follow."""
        if self._start is not None:
            start, self._start = self._start, None
            await self._send(start)
            await self._send({"type": "http.response.body", "body": self._body, "more_body": True})

    async def _finish(self, start: Message) -> None:
        self._start = None
        body = _RESULTS_URL.sub(rb"\g<1>" + self._url + rb"\g<2>", self._body)
        length = b"%d" % len(body)
        headers = [(name, length if name == b"content-length" else value) for name, value in start["headers"]]
        await self._send({**start, "headers": headers})
        await self._send({"type": "http.response.body", "body": body})


def _is_plain_json(start: Message) -> bool:
    fields = dict(start["headers"])
    is_json = fields.get(b"content-type", b"").lower().startswith(b"application/json")
    return is_json and start["status"] == 200 and b"content-encoding" not in fields


def _own_url(scope: Message, *, is_proxied: bool) -> bytes | None:
    """Scheme and host that the client has called; None if its `host` is not valid in a URL."""
    fields: dict[bytes, bytes] = dict(scope["headers"])
    host = fields.get(b"host", b"")
    if not re.fullmatch(rb"[\w.:\[\]-]+", host):
        return None
    scheme = fields.get(_FORWARDED_SCHEME, b"").strip().lower() if is_proxied else b""
    if scheme not in {b"http", b"https"}:
        scheme = str(scope.get("scheme", "http")).encode()
    return scheme + b"://" + host
