"""Records requests as received, for tests of proxies in front of the simulator."""

import hashlib
from typing import TYPE_CHECKING, Any, Final

from claude_simulator.header_names import API_KEY, AUTHORIZATION

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

_SECRET: Final = (API_KEY, AUTHORIZATION)


class RequestRecord:
    """Records one request. It hashes the body, and does not keep it."""

    def __init__(self, scope: "Scope", receive: "Receive") -> None:
        query = scope["query_string"]
        path = scope.get("raw_path") or scope["path"].encode()
        self._method = scope["method"]
        self._target = (path + b"?" + query if query else path).decode("latin-1")
        self._headers = scope["headers"]
        self._receive = receive
        self._digest = hashlib.sha256()
        self._body_bytes = 0

    async def receive(self) -> "Message":
        """The ASGI `receive`, which also hashes the body."""
        message = await self._receive()
        body = message.get("body", b"")
        self._digest.update(body)
        self._body_bytes += len(body)
        return message

    def to_json(self) -> dict[str, Any]:
        """The request as JSON: headers in order, without the values of keys, and a digest of the body so far."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._headers]
        return {
            "method": self._method,
            "target": self._target,
            "headers": [(name, "…" if name in _SECRET else value) for name, value in headers],
            "body_bytes": self._body_bytes,
            "body_sha256": self._digest.hexdigest(),
        }
