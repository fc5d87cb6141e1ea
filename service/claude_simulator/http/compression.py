"""Compresses answers as the real API's edge does: JSON from a certain size on, and event streams event by event."""

import zlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import Message, Send

_LEAST_BYTES: Final = 500
_GZIP_WINDOW_BITS: Final = 31
"""16 above zlib's own 15: with gzip's head, whose time is 0, so that the same body gives the same bytes."""
_TYPES: Final = (b"application/json", b"application/x-jsonl", b"text/event-stream")


class Compressed:
    """An ASGI `send` that compresses one answer, if its client accepts gzip and it is worth it."""

    def __init__(self, send: "Send", request_headers: dict[str, str]) -> None:
        accepted = [item.split(";")[0].strip() for item in request_headers.get("accept-encoding", "").split(",")]
        self._send = send
        self._accepts = "gzip" in accepted
        self._packer: zlib._Compress | None = None

    async def __call__(self, message: "Message") -> None:
        """Send a message of the answer."""
        if message["type"] == "http.response.start" and self._accepts:
            message = self._begin(message)
        elif message["type"] == "http.response.body" and self._packer is not None:
            more = message.get("more_body", False)
            end = zlib.Z_SYNC_FLUSH if more else zlib.Z_FINISH
            packed = self._packer.compress(message.get("body", b"")) + self._packer.flush(end)
            message = {**message, "body": packed}
        await self._send(message)

    def _begin(self, start: "Message") -> "Message":
        fields = dict(start["headers"])
        length = fields.pop(b"content-length", None)
        is_small = length is not None and int(length) < _LEAST_BYTES
        if is_small or not fields.get(b"content-type", b"").startswith(_TYPES):
            return start
        self._packer = zlib.compressobj(wbits=_GZIP_WINDOW_BITS)
        return {**start, "headers": [*fields.items(), (b"content-encoding", b"gzip"), (b"vary", b"accept-encoding")]}
