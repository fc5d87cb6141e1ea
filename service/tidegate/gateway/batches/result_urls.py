"""The one value in a body that is changed on its way: where a batch's results are.

The API says it as a whole URL, and SDKs call that URL as it stands (Python SDK 2.12.0, TypeScript SDK 1.14.0:
`messages.batches.results`). Left as it is, it would lead clients past the gateway, with a key that the API does not
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
"""A page of 1,000 batches is below 1 MB; what is longer passes as it came."""
_FORWARDED_SCHEME: Final = b"x-forwarded-proto"


class BatchResultUrls:
    """Wraps the gateway: in answers about batches, `results_url` begins with the URL that the client has called.

    Its host is the request's `host`, its scheme the connection's, or what a trusted proxy before us says in
    `x-forwarded-proto`. Such answers are asked for uncompressed. All else passes untouched.

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
        answer = _Answer(send, url)
        await self._gateway({**scope, "headers": headers}, receive, answer.send)
        await answer.flush()


class _Answer:
    """Holds an answer back until its body is whole, or too long to be held."""

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
        """Hands on what is held as it came: of an answer that broke off, all that there will be."""
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
    """Scheme and host under which the client has called; None when it does not name a host fit for a URL."""
    fields: dict[bytes, bytes] = dict(scope["headers"])
    host = fields.get(b"host", b"")
    if not re.fullmatch(rb"[\w.:\[\]-]+", host):
        return None
    scheme = fields.get(_FORWARDED_SCHEME, b"").strip().lower() if is_proxied else b""
    if scheme not in {b"http", b"https"}:
        scheme = str(scope.get("scheme", "http")).encode()
    return scheme + b"://" + host
