"""Compresses responses like the real API: JSON above a minimum size, and event streams event by event."""

import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import Message, Send

_MIN_BYTES: Final = 500
_GZIP_WINDOW_BITS: Final = 31
"""15 plus 16: a gzip header, with time 0, so that equal bodies give equal bytes."""
_TYPES: Final = (b"application/json", b"application/x-jsonl", b"text/event-stream")


class Compressed:
    """An ASGI `send` that compresses one response, if the client accepts gzip and the type and size qualify."""

    def __init__(self, send: "Send", request_headers: dict[str, str]) -> None:
        accepted = [item.split(";")[0].strip() for item in request_headers.get("accept-encoding", "").split(",")]
        self._send = send
        self._accepts = "gzip" in accepted
        self._compressor: zlib._Compress | None = None

    async def __call__(self, message: "Message") -> None:
        """Sends one ASGI message of the response."""
        if message["type"] == "http.response.start" and self._accepts:
            message = self._begin(message)
        elif message["type"] == "http.response.body" and self._compressor is not None:
            more = message.get("more_body", False)
            end = zlib.Z_SYNC_FLUSH if more else zlib.Z_FINISH
            compressed = self._compressor.compress(message.get("body", b"")) + self._compressor.flush(end)
            message = {**message, "body": compressed}
        await self._send(message)

    def _begin(self, start: "Message") -> "Message":
        fields = dict(start["headers"])
        length = fields.pop(b"content-length", None)
        is_small = length is not None and int(length) < _MIN_BYTES
        if is_small or not fields.get(b"content-type", b"").startswith(_TYPES):
            return start
        self._compressor = zlib.compressobj(wbits=_GZIP_WINDOW_BITS)
        return {**start, "headers": [*fields.items(), (b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]}
