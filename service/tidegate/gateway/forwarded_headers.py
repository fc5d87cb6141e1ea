"""Which header fields pass: all but credentials and what belongs to one connection only."""

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
    TIDEGATE_SESSION,
    TIDEGATE_TIMEOUT_SECONDS,
)
from tidegate.core.claude.rate_limit_headers import header_text
from tidegate.core.ports.transport import EncodedHeaders, Fields, Headers, TransportRequest
from tidegate.http.content_coding import readable_codings

__all__ = [
    "for_client",
    "for_upstream",
    "is_event_stream",
    "limit_headers",
    "listed",
    "uncompressed",
    "with_headers",
]

_ACCEPT_ENCODING: Final = b"accept-encoding"
_CLOUD_KEY: Final = b"api-key"
"""Where AnthropicFoundry sends its key (Python SDK 2.12.0)."""

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
"""RFC 9110 section 7.6.1, with the names that it and its predecessors list."""
_OWN: Final = (TIDEGATE_HOP, TIDEGATE_TIMEOUT_SECONDS, TIDEGATE_SESSION, TIDEGATE_PRIORITY)
_REPLACED: Final = frozenset(
    {b"host", b"content-length", b"expect", _ACCEPT_ENCODING, _CLOUD_KEY}
    | {name.encode() for name in (API_KEY, AUTHORIZATION, *_OWN)}
)
_TRACE_CONTEXT: Final = frozenset({b"traceparent", b"tracestate", b"baggage"})
"""W3C Trace Context, and W3C Baggage."""
_STAY_HERE: Final = _HOP_BY_HOP | _REPLACED
_STAY_HERE_WITH_TRACES: Final = _STAY_HERE | _TRACE_CONTEXT
_API_KEY, _HOP = API_KEY.encode(), TIDEGATE_HOP.encode()
_LIMIT_PREFIXES: Final = (RATE_LIMIT_PREFIX.encode(), FAST_PREFIX.encode())
_LIMIT_NAMES: Final = frozenset({RETRY_AFTER.encode(), RETRY_AFTER_MS.encode(), DATE.encode()})


def listed(headers: Headers, name: bytes) -> list[str]:
    """The members of a comma-separated list, which may be spread over several fields of that name."""
    fields = (value.decode("latin-1") for each, value in headers if each == name)
    return [member.strip() for field in fields for member in field.split(",") if member.strip()]


def is_event_stream(fields: Fields) -> bool:
    """Whether an answer says that it is an event stream."""
    return fields.get(b"content-type", b"").lower().startswith(b"text/event-stream")


def limit_headers(headers: Headers) -> dict[str, str]:
    """Only the fields that say something about limits, and the time: few, where an answer has dozens."""
    return header_text([field for field in headers if field[0] in _LIMIT_NAMES or field[0].startswith(_LIMIT_PREFIXES)])


def for_upstream(
    headers: Headers, fields: Fields, *, api_key: bytes, hops: bytes, passes_trace_context: bool
) -> EncodedHeaders:
    """A client's fields for the upstream: its key gives way to the service's, everything else passes unchanged.

    Of the compressions that the client accepts, those are struck from which usage could not be read. The ids of a
    trace are a matter of this house, and stay in it unless they are meant to pass.
    """
    dropped = _STAY_HERE if passes_trace_context else _STAY_HERE_WITH_TRACES
    accepted: tuple[bytes, ...] = (fields[_ACCEPT_ENCODING],) if _ACCEPT_ENCODING in fields else ()
    if not _is_plain(headers, fields):
        dropped |= _named_by_connection(headers)
        accepted = tuple([value for name, value in headers if name == _ACCEPT_ENCODING])
    passed = [field for field in headers if field[0] not in dropped]
    passed += ((_ACCEPT_ENCODING, readable_codings(accepted)), (_API_KEY, api_key), (_HOP, hops))
    return EncodedHeaders(passed)


def uncompressed(request: TransportRequest) -> TransportRequest:
    """The request, asking for an answer that is not compressed."""
    headers = [field for field in request.headers if field[0] != _ACCEPT_ENCODING]
    return replace(request, headers=EncodedHeaders([*headers, (_ACCEPT_ENCODING, b"identity")]))


def for_client(headers: Headers, fields: Fields, replaced: frozenset[bytes] = frozenset()) -> list[tuple[bytes, bytes]]:
    """An answer's fields for the client, without those that will be `replaced` by others."""
    dropped = _not_passed(replaced)
    if not _is_plain(headers, fields):
        dropped |= _named_by_connection(headers)
    return [field for field in headers if field[0] not in dropped]


@cache
def _not_passed(replaced: frozenset[bytes]) -> frozenset[bytes]:
    return _HOP_BY_HOP | replaced


def _is_plain(headers: Headers, fields: Fields) -> bool:
    """Whether no name is repeated and none belongs to one connection only, as in most."""
    return fields.get(b"connection", b"keep-alive") == b"keep-alive" and len(fields) == len(headers)


def _named_by_connection(headers: Headers) -> frozenset[bytes]:
    """Fields that belong to one connection only, because `connection` says so."""
    return frozenset(name.lower().encode("latin-1") for name in listed(headers, b"connection"))


def with_headers(request: TransportRequest, headers: Mapping[str, str]) -> TransportRequest:
    """The request with these fields instead of its own of the same names."""
    if not headers:
        return request
    ours = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    names = {name for name, _ in ours}
    passed = [field for field in request.headers if field[0] not in names]
    return replace(request, headers=EncodedHeaders([*passed, *ours]))
