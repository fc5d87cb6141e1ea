"""What a request looked like when it came, for tests of what stands in between."""

import hashlib
from typing import TYPE_CHECKING, Any, Final

from claude_simulator.header_names import API_KEY, AUTHORIZATION

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope

_SECRET: Final = (API_KEY, AUTHORIZATION)


class SeenRequest:
    """Follows one request; its body is read through `receive` and not kept."""

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
        """The next message from the client."""
        message = await self._receive()
        body = message.get("body", b"")
        self._digest.update(body)
        self._body_bytes += len(body)
        return message

    def shown(self) -> dict[str, Any]:
        """The request in JSON: headers in their order without the values of keys, and a digest of the body so far."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._headers]
        return {
            "method": self._method,
            "target": self._target,
            "headers": [(name, "…" if name in _SECRET else value) for name, value in headers],
            "body_bytes": self._body_bytes,
            "body_sha256": self._digest.hexdigest(),
        }
