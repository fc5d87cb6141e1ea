"""Reads the usage of a response from a copy of its bytes while they are relayed."""

from typing import Protocol

from tidegate.core.domain.errors import UpstreamError
from tidegate.core.domain.usage import Usage
from tidegate.core.ports.transport import Fields, Headers
from tidegate.gateway.forwarded_headers import is_event_stream
from tidegate.gateway.receive.request import MESSAGES_ROUTE
from tidegate.gateway.relay.event_stream import StreamReader
from tidegate.gateway.relay.message_reader import MessageReader
from tidegate.gateway.relay.response_metadata import ResponseMetadata
from tidegate.http.content_coding import Decoder, content_codings

__all__ = ["ResponseReader", "reader_for"]


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
        reader = MessageReader()
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
