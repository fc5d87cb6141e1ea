"""A client that measures latency, with raw connections on uvloop, to cost little CPU time itself."""

import asyncio
import json
import time
from typing import Any, Final

__all__ = ["Client", "message_request"]

_SDK_HEADERS: Final = (
    "accept: application/json",
    "accept-encoding: gzip, deflate",
    "content-type: application/json",
    "user-agent: Anthropic/Python 2.12.0",
    "x-stainless-lang: python",
    "x-stainless-package-version: 2.12.0",
    "x-stainless-os: Linux",
    "x-stainless-arch: x64",
    "x-stainless-runtime: CPython",
    "x-stainless-runtime-version: 3.11.15",
    "x-stainless-async: async:asyncio",
    "x-stainless-retry-count: 0",
    "x-stainless-timeout: 600",
    "x-api-key: sk-ant-of-a-program",
    "anthropic-version: 2023-06-01",
)
"""As sent by the Python SDK."""
_HEAD_END: Final = b"\r\n\r\n"


def message_request(port: int, body_bytes: int, query: str = "", *, stream: bool = False, blocks: int = 0) -> bytes:
    """Create the bytes of a Messages call with a body of about this size.

    Its prompt is one text, or a number of text blocks with a cache breakpoint at the last one.
    """
    fields: dict[str, Any] = {"model": "claude-sonnet-5-5", "max_tokens": 1_024, "stream": stream}
    sentence = 'The quick brown fox said "jump", and the lazy dog didn\'t.\n'
    rest_bytes = max(0, body_bytes - len(json.dumps(fields)) - 60)
    text = (sentence * (rest_bytes // len(sentence) + 1))[:rest_bytes]
    content: Any = text
    if blocks:
        each = len(text) // blocks
        content = [{"type": "text", "text": text[i * each : (i + 1) * each]} for i in range(blocks)]
        content[-1]["cache_control"] = {"type": "ephemeral"}
    fields["messages"] = [{"role": "user", "content": content}]
    body = json.dumps(fields).encode()
    lines = [f"POST /v1/messages{query} HTTP/1.1", f"host: 127.0.0.1:{port}", *_SDK_HEADERS]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body


class Client(asyncio.Protocol):
    """One connection, one call at a time.

    Attributes:
        first_event_ns: When the first event of the latest stream was received; 0 before.
        has_begun: Done when the first event of any stream has been received.
        events: Number of text deltas received.
    """

    def __init__(self) -> None:
        self.first_event_ns = 0
        self.events = 0
        self.has_begun = asyncio.get_running_loop().create_future()
        self._done: asyncio.Future[int] | None = None
        self._received = bytearray()
        self._length: int | None = None
        self._streams = False

    @classmethod
    async def connect(cls, port: int) -> "Client":
        """Connect to a port of the loopback interface."""
        _, client = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return client

    async def call(self, request: bytes) -> int:
        """Make a call, and return the nanoseconds until the last byte of the response.

        Raises:
            RuntimeError: The response is not a 200, or the connection broke.
        """
        self._received.clear()
        self._length = None
        self.first_event_ns = self.events = 0
        self._done = asyncio.get_running_loop().create_future()
        started_ns = time.perf_counter_ns()
        self._socket.write(request)
        return await self._done - started_ns

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self._socket = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._done is not None and not self._done.done():
            self._done.set_exception(
                RuntimeError(f"the connection broke: {exc}, after {bytes(self._received)[:300]!r}")
            )

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        now_ns = time.perf_counter_ns()
        self._received += data
        if self._length is None:
            end = self._received.find(_HEAD_END)
            if end < 0:
                return
            self._read_head(bytes(self._received[:end]).lower(), end + len(_HEAD_END))
        if self._streams:
            self.events += data.count(b"text_delta")
            if not self.first_event_ns and b"data:" in self._received:
                self.first_event_ns = now_ns
                if not self.has_begun.done():
                    self.has_begun.set_result(None)
            if not self._received.endswith(b"\r\n0\r\n\r\n"):
                del self._received[:-16]
                return
        elif len(self._received) < (self._length or 0):
            return
        if self._done is not None and not self._done.done():
            self._done.set_result(now_ns)

    def _read_head(self, head: bytes, start: int) -> None:
        lines = head.split(b"\r\n")
        if b" 200" not in lines[0] and self._done is not None:
            self._done.set_exception(RuntimeError(bytes(self._received[:500]).decode("utf-8", "replace")))
        length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), None)
        self._streams = length is None
        self._length = start + (length or 0)
