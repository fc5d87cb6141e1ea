"""Reads the usage of a response from a copy of its bytes while they are relayed."""

from typing import Annotated, Any, Final, Protocol, TypedDict

import msgspec

from tidegate.core.domain.errors import UpstreamError
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.transport import Fields, Headers
from tidegate.gateway.forwarded_headers import is_event_stream
from tidegate.gateway.receive.request import MESSAGES_ROUTE
from tidegate.gateway.relay.event_stream import StreamReader
from tidegate.gateway.relay.json_reading import json_object
from tidegate.gateway.relay.response_metadata import ResponseMetadata
from tidegate.http.content_coding import Decoder, content_codings

__all__ = ["ResponseReader", "reader_for"]

_NO_METADATA: Final = ResponseMetadata()
_MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""Messages responses are below 1 MB (128,000 tokens). A longer one is not kept, and its usage stays unknown."""


_Tokens = Annotated[int, msgspec.Meta(ge=0)] | None


class _Created(msgspec.Struct, gc=False):
    ephemeral_1h_input_tokens: _Tokens = None


class _Usage(msgspec.Struct, gc=False):
    """The figures, each of the right type."""

    input_tokens: _Tokens = None
    output_tokens: _Tokens = None
    cache_read_input_tokens: _Tokens = None
    cache_creation_input_tokens: _Tokens = None
    cache_creation: _Created | None = None
    service_tier: str | None = None
    speed: str | None = None


class _Message(msgspec.Struct, gc=False):
    """The members of a well-formed Messages response that are read. Its content is skipped."""

    id: str
    model: str
    usage: _Usage
    stop_reason: str | None = None


class _AnyMessage(TypedDict, total=False):
    """The same members, of any type."""

    id: Any
    model: Any
    stop_reason: Any
    usage: Any


_MESSAGE: Final = msgspec.json.Decoder(_Message).decode
_ANY_MESSAGE: Final = msgspec.json.Decoder(_AnyMessage).decode


class ResponseReader(Protocol):
    """Reads a response body; attributes as in `StreamReader`."""

    @property
    def reads_events(self) -> bool: ...  # noqa: D102 - see the class

    @property
    def usage(self) -> Usage | None: ...  # noqa: D102 - see the class

    @property
    def usage_is_odd(self) -> bool: ...  # noqa: D102 - see the class

    @property
    def started(self) -> bool: ...  # noqa: D102 - see the class

    @property
    def has_content(self) -> bool: ...  # noqa: D102 - see the class

    @property
    def error(self) -> UpstreamError | None: ...  # noqa: D102 - see the class

    @property
    def metadata(self) -> ResponseMetadata: ...  # noqa: D102 - see the class

    @property
    def progress(self) -> int: ...  # noqa: D102 - see the class

    @property
    def text_bytes(self) -> int: ...  # noqa: D102 - see the class

    @property
    def unreported_bytes(self) -> int: ...  # noqa: D102 - see the class

    def feed(self, chunk: bytes) -> None:
        """Reads the next bytes of the body."""
        ...


class _PlainReader:
    """Reads a body without usage. Its first byte is content."""

    reads_events = False
    usage: Usage | None = None
    usage_is_odd = False
    started = False
    error: UpstreamError | None = None
    metadata = ResponseMetadata()
    text_bytes = unreported_bytes = 0

    def __init__(self) -> None:
        self.progress = 0

    @property
    def has_content(self) -> bool:
        return self.progress > 0

    def feed(self, chunk: bytes) -> None:
        self.progress += len(chunk)


class _EventReader(_PlainReader):
    """Reads an event stream of another route. Its head counts as content: the first event may come much later."""

    @property
    def has_content(self) -> bool:
        return True


class _MessageReader:
    """Reads a Messages response that is one JSON document."""

    __slots__ = ("_chunks", "_metadata", "_read_at", "_usage", "_usage_is_odd", "progress")

    reads_events = False
    started = False
    error: UpstreamError | None = None
    text_bytes = unreported_bytes = 0

    def __init__(self) -> None:
        self.progress = 0
        self._chunks: list[bytes] = []
        self._usage: Usage | None = None
        self._usage_is_odd = False
        self._metadata = _NO_METADATA
        self._read_at = 0

    @property
    def has_content(self) -> bool:
        return self.progress > 0

    @property
    def usage(self) -> Usage | None:
        if self._read_at != self.progress:
            self._read()
        return self._usage

    @property
    def usage_is_odd(self) -> bool:
        if self._read_at != self.progress:
            self._read()
        return self._usage_is_odd

    @property
    def metadata(self) -> ResponseMetadata:
        if self._read_at != self.progress:
            self._read()
        return self._metadata

    def feed(self, chunk: bytes) -> None:
        self.progress += len(chunk)
        if self.progress <= _MAX_BODY_BYTES:
            self._chunks.append(chunk)

    def _read(self) -> None:
        """Parses the document, once for all properties: it may be long."""
        self._read_at = self.progress
        document = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        try:
            message = _MESSAGE(document)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._read_leniently(document)
            return
        figures, created = message.usage, message.usage.cache_creation
        self._metadata = ResponseMetadata(message.id, message.model, message.stop_reason or "")
        self._usage = Usage(
            figures.input_tokens or 0,
            figures.output_tokens or 0,
            figures.cache_read_input_tokens or 0,
            figures.cache_creation_input_tokens or 0,
            0 if created is None else created.ephemeral_1h_input_tokens or 0,
            figures.service_tier == "batch",
            figures.speed == "fast",
        )

    def _read_leniently(self, document: bytes) -> None:
        """Reads the members that are there, whatever else the document is."""
        message = json_object(document, _ANY_MESSAGE)
        self._metadata = ResponseMetadata.of(message)
        usage = message.get("usage")
        if isinstance(usage, dict):
            self._usage, self._usage_is_odd = Usage.from_json(usage), Usage.is_odd(usage)


class _DecodingReader:
    """Decompresses a body for another reader."""

    def __init__(self, reader: ResponseReader, decoder: Decoder) -> None:
        self._reader = reader
        self._decoder: Decoder | None = decoder
        self._unread_bytes = 0

    @property
    def reads_events(self) -> bool:
        return self._reader.reads_events

    @property
    def usage(self) -> Usage | None:
        return self._reader.usage

    @property
    def usage_is_odd(self) -> bool:
        return self._reader.usage_is_odd

    @property
    def started(self) -> bool:
        return self._reader.started

    @property
    def has_content(self) -> bool:
        return self._reader.has_content or self._decoder is None

    @property
    def error(self) -> UpstreamError | None:
        return self._reader.error

    @property
    def metadata(self) -> ResponseMetadata:
        return self._reader.metadata

    @property
    def progress(self) -> int:
        return self._reader.progress + self._unread_bytes

    @property
    def text_bytes(self) -> int:
        return self._reader.text_bytes

    @property
    def unreported_bytes(self) -> int:
        return self._reader.unreported_bytes

    def feed(self, chunk: bytes) -> None:
        if self._decoder is None:
            self._unread_bytes += len(chunk)
            return
        try:
            for piece in self._decoder.feed(chunk):
                self._reader.feed(piece)
        except ValueError:
            self._decoder = None  # the client gets the bytes all the same


def reader_for(route: str, headers: Headers, fields: Fields) -> ResponseReader:
    """The reader for a response, by route, content type and content coding."""
    if route != MESSAGES_ROUTE:
        return _EventReader() if is_event_stream(fields) else _PlainReader()
    content_type = fields.get(b"content-type", b"").lower()
    reader: ResponseReader
    if content_type.startswith(b"application/json"):
        reader = _MessageReader()
    elif content_type.startswith(b"text/event-stream"):
        reader = StreamReader()
    else:
        return _PlainReader()
    codings = content_codings(headers) if b"content-encoding" in fields else []
    if not codings:
        return reader
    try:
        return _DecodingReader(reader, Decoder(codings))
    except ValueError:
        return _PlainReader()
