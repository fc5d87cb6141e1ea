"""Reads a Messages response that is one JSON document."""

from typing import Annotated, Any, Final, TypedDict

import msgspec

from tidegate.core.domain.errors import UpstreamError
from tidegate.core.domain.usage import Usage
from tidegate.gateway.relay.json_reading import json_object
from tidegate.gateway.relay.response_metadata import ResponseMetadata

__all__ = ["MessageReader"]

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


class MessageReader:
    """Reads a Messages response that is one JSON document; attributes as in `StreamReader`."""

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
        """Whether any byte has arrived."""
        return self.progress > 0

    @property
    def usage(self) -> Usage | None:
        """The usage that the document reports; None if it reports none."""
        if self._read_at != self.progress:
            self._read()
        return self._usage

    @property
    def usage_is_odd(self) -> bool:
        """Whether some figures were not counts."""
        if self._read_at != self.progress:
            self._read()
        return self._usage_is_odd

    @property
    def metadata(self) -> ResponseMetadata:
        """Id, model and stop reason."""
        if self._read_at != self.progress:
            self._read()
        return self._metadata

    def feed(self, chunk: bytes) -> None:
        """Takes the next bytes of the document."""
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
