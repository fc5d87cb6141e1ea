"""Decides which header fields are forwarded: all but credentials and those of one connection."""

from collections.abc import Mapping
from functools import cache
from typing import Final

from msgspec.structs import replace

from tidegate.core.claude.header_names import (
    API_KEY,
    AUTHORIZATION,
    DATE,
    FAST_PREFIX,
    RATE_LIMIT_PREFIX,
    RETRY_AFTER,
    RETRY_AFTER_MS,
    TIDEGATE_HOP,
    TIDEGATE_PRIORITY,
    TIDEGATE_REPORT,
    TIDEGATE_SESSION,
    TIDEGATE_TIMEOUT_SECONDS,
)
from tidegate.core.claude.rate_limit_headers import header_text
from tidegate.core.ports.transport import EncodedHeaders, Fields, Headers, TransportRequest
from tidegate.http.content_coding import readable_codings

__all__ = [
    "for_client",
    "for_upstream",
    "is_compressible",
    "is_event_stream",
    "limit_headers",
    "listed",
    "uncompressed",
    "with_headers",
]

_ACCEPT_ENCODING: Final = b"accept-encoding"
_CLOUD_KEY: Final = b"api-key"
"""The field in which AnthropicFoundry sends its key (Python SDK 2.12.0)."""

_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that belong to one connection (RFC 9110 section 7.6.1 and its predecessors)."""
_OWN: Final = (TIDEGATE_HOP, TIDEGATE_TIMEOUT_SECONDS, TIDEGATE_SESSION, TIDEGATE_PRIORITY, TIDEGATE_REPORT)
_REPLACED: Final = frozenset(
    {b"host", b"content-length", b"expect", _ACCEPT_ENCODING, _CLOUD_KEY}
    | {name.encode() for name in (API_KEY, AUTHORIZATION, *_OWN)}
)
_TRACE_CONTEXT: Final = frozenset({b"traceparent", b"tracestate", b"baggage"})
"""W3C Trace Context, and W3C Baggage."""
_NOT_FORWARDED: Final = _HOP_BY_HOP | _REPLACED
_NOT_FORWARDED_NOR_TRACED: Final = _NOT_FORWARDED | _TRACE_CONTEXT
_API_KEY, _HOP = API_KEY.encode(), TIDEGATE_HOP.encode()
_LIMIT_PREFIXES: Final = (RATE_LIMIT_PREFIX.encode(), FAST_PREFIX.encode())
_LIMIT_NAMES: Final = frozenset({RETRY_AFTER.encode(), RETRY_AFTER_MS.encode(), DATE.encode()})


def listed(headers: Headers, name: bytes) -> list[str]:
    """The members of a comma-separated list, which may be in several fields of that name."""
    fields = (value.decode("latin-1") for each, value in headers if each == name)
    return [member.strip() for field in fields for member in field.split(",") if member.strip()]


def is_event_stream(fields: Fields) -> bool:
    """Whether a response with these fields is an event stream."""
    return fields.get(b"content-type", b"").lower().startswith(b"text/event-stream")


def limit_headers(headers: Headers) -> dict[str, str]:
    """The fields about limits and the time."""
    return header_text([field for field in headers if field[0] in _LIMIT_NAMES or field[0].startswith(_LIMIT_PREFIXES)])


def for_upstream(
    headers: Headers, fields: Fields, *, api_key: bytes, hops: bytes, passes_trace_context: bool
) -> EncodedHeaders:
    """A client's header fields for the upstream.

    The client's key is replaced by the service's. Content codings that cannot be read here are not accepted, because
    the usage could not be read. Trace context is removed unless `passes_trace_context`. Other fields stay unchanged.
    """
    dropped = _NOT_FORWARDED if passes_trace_context else _NOT_FORWARDED_NOR_TRACED
    accepted: tuple[bytes, ...] = (fields[_ACCEPT_ENCODING],) if _ACCEPT_ENCODING in fields else ()
    if not _is_plain(headers, fields):
        dropped |= _named_by_connection(headers)
        accepted = tuple([value for name, value in headers if name == _ACCEPT_ENCODING])
    passed = [field for field in headers if field[0] not in dropped]
    passed += ((_ACCEPT_ENCODING, readable_codings(accepted)), (_API_KEY, api_key), (_HOP, hops))
    return EncodedHeaders(passed)


def is_compressible(request: TransportRequest) -> bool:
    """Whether the request allows a compressed response."""
    return any(name == _ACCEPT_ENCODING and value != b"identity" for name, value in request.headers)


def uncompressed(request: TransportRequest) -> TransportRequest:
    """The request, with a header that asks for an uncompressed response."""
    headers = [field for field in request.headers if field[0] != _ACCEPT_ENCODING]
    return replace(request, headers=EncodedHeaders([*headers, (_ACCEPT_ENCODING, b"identity")]))


def for_client(headers: Headers, fields: Fields, replaced: frozenset[bytes] = frozenset()) -> list[tuple[bytes, bytes]]:
    """The header fields of a response for the client, without those that will be `replaced`."""
    dropped = _dropped_for_client(replaced)
    if not _is_plain(headers, fields):
        dropped |= _named_by_connection(headers)
    return [field for field in headers if field[0] not in dropped]


@cache
def _dropped_for_client(replaced: frozenset[bytes]) -> frozenset[bytes]:
    return _HOP_BY_HOP | replaced


def _is_plain(headers: Headers, fields: Fields) -> bool:
    """Whether no name is repeated and `connection` names no further fields, as usual."""
    return fields.get(b"connection", b"keep-alive") == b"keep-alive" and len(fields) == len(headers)


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    """The fields that `connection` names: they belong to one connection."""
    return frozenset(name.lower().encode("latin-1") for name in listed(headers, b"connection"))


def with_headers(request: TransportRequest, headers: Mapping[str, str]) -> TransportRequest:
    """The request with these header fields, in place of its own with the same names."""
    if not headers:
        return request
    added = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    names = {name for name, _ in added}
    passed = [field for field in request.headers if field[0] not in names]
    return replace(request, headers=EncodedHeaders([*passed, *added]))
