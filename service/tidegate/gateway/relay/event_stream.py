"""Reads usage, errors and metadata from a copy of an event stream of the Messages API."""

from typing import Final

from tidegate.core.domain.errors import UpstreamError
from tidegate.core.domain.usage import Usage, reports_output
from tidegate.gateway.relay.json_reading import json_object
from tidegate.gateway.relay.response_metadata import ResponseMetadata

__all__ = ["StreamReader"]

_MAX_LINE_BYTES: Final = 1024 * 1024
"""Longer lines are skipped, so that a stream without line ends cannot fill the memory."""
_READ_EVENTS: Final = frozenset({"message_start", "message_delta", "error"})
"""Events whose data are parsed. All others, among them every text delta, are not."""
_DELTA: Final = b"event: content_block_delta\ndata:"
_WITHOUT_CONTENT: Final = frozenset({"message_start", "ping", "error"})
_DELTA_FRAME_BYTES: Final = len(b' {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"')
"""Approximate size of a delta's data in front of its text."""


class StreamReader:
    """Finds usage, the start of the content and errors, incrementally. The result does not depend on how bytes are cut.

    Lines end with LF or CR LF, as the API sends them. Unreadable data is skipped. Source of the event names: Anthropic
    Python SDK 2.12.0, `_streaming.py`.

    Attributes:
        reads_events: whether every event takes time to read.
        usage: the latest figures; None until an event reports some.
        usage_is_odd: whether some figures were not counts.
        started: whether `message_start` has arrived.
        has_content: whether content has arrived; from then on the call cannot be retried.
        error: the first `error` event, with status 200; None if there was none.
        metadata: id, model and stop reason so far.
        progress: grows with every event but pings.
        text_bytes: approximate bytes of text, thinking and tool input so far.
        unreported_bytes: those of them that arrived after the latest output figure.
    """

    __slots__ = (
        "_data",
        "_event",
        "_rest",
        "_skipping",
        "error",
        "has_content",
        "metadata",
        "progress",
        "started",
        "text_bytes",
        "unreported_bytes",
        "usage",
        "usage_is_odd",
    )

    reads_events = True

    def __init__(self) -> None:
        self.usage: Usage | None = None
        self.usage_is_odd = False
        self.started = False
        self.has_content = False
        self.error: UpstreamError | None = None
        self.metadata = ResponseMetadata()
        self.progress = 0
        self.text_bytes = 0
        self.unreported_bytes = 0
        self._rest = b""
        self._skipping = False
        self._event = ""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> None:
        """Reads the next bytes of the stream."""
        text = self._rest + chunk
        start = 0
        while True:
            if not (self._skipping or self._event or self._data):
                start = self._read_deltas(text, start)
            end = text.find(b"\n", start)
            if end < 0:
                break
            if self._skipping:
                self._skipping = False
            elif end - start <= _MAX_LINE_BYTES:
                self._read_line(text[start:end].removesuffix(b"\r"))
            start = end + 1
        if len(text) - start > _MAX_LINE_BYTES:
            self._skipping = True
        self._rest = b"" if self._skipping else text[start:]

    def _read_deltas(self, text: bytes, start: int) -> int:
        """Reads deltas in the form in which the API sends them, at a third of the cost; returns where they end."""
        while text.startswith(_DELTA, start):
            data = start + len(_DELTA)
            end = text.find(b"\n", data, data + _MAX_LINE_BYTES)
            if end < 0 or not text.startswith(b"\n", end + 1):
                break
            self._count_text(text.rfind(b'"', data, end) - data)
            self.has_content = True
            self.progress += 1
            start = end + 2
        return start

    def _count_text(self, quote: int) -> None:
        # The API pads the data after the last quote, to hide the length of the text.
        size = max(1, quote - _DELTA_FRAME_BYTES)
        self.text_bytes += size
        self.unreported_bytes += size

    def _read_line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[5:])
        elif line.startswith(b"event:"):
            self._event = line[6:].strip().decode("utf-8", "replace")
        elif not line:
            event, data = self._event, self._data
            self._event, self._data = "", []
            if event or data:
                self._read_event(event, data)

    def _read_event(self, event: str, data: list[bytes]) -> None:
        if event == "content_block_delta":
            self._count_text(sum(part.rfind(b'"') for part in data))
        if event not in _WITHOUT_CONTENT:
            self.has_content = True
        if event != "ping":
            self.progress += 1
        if event not in _READ_EVENTS:
            return
        fields = json_object(b"\n".join(data))
        if event == "message_start":
            self.started = True
            message = fields.get("message")
            fields = message if isinstance(message, dict) else {}
            self.metadata = ResponseMetadata.of(fields)
        elif event == "message_delta":
            self.metadata = self.metadata.with_stop_reason(fields.get("delta"))
        if event == "error":
            self._read_error(fields.get("error"))
        elif isinstance(usage := fields.get("usage"), dict):
            self.usage = Usage.from_json(usage, self.usage)
            self.usage_is_odd = self.usage_is_odd or Usage.is_odd(usage)
            if reports_output(usage):
                self.unreported_bytes = 0

    def _read_error(self, error: object) -> None:
        fields = error if isinstance(error, dict) else {}
        self.error = self.error or UpstreamError(
            str(fields.get("message", "an error event without a message")),
            status=200,
            error_type=str(fields.get("type", "api_error")),
        )
