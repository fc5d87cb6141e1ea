"""What the relay needs to know of a call: its route, and a few fields of a Messages body."""

import json
from dataclasses import dataclass
from typing import Final

from tidegate.core.errors import TidegateError
from tidegate.core.price import Prefix
from tidegate.gateway.prefixes import cacheable_prefixes

__all__ = ["MESSAGES_ROUTE", "InvalidCall", "MessageRequest", "most_body_bytes", "read_message", "route_of"]

MESSAGES_ROUTE: Final = "/v1/messages"

_MB: Final = 1024 * 1024
_ROUTES: Final = ("/v1/messages/count_tokens", "/v1/messages/batches", "/v1/models", "/v1/files")
_JSON_NAMES: Final = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


class InvalidCall(TidegateError):
    """A call that is answered here with a client error, because it cannot be sent on as it is.

    Attributes:
        status: HTTP status.
        error_type: Anthropic `error.type`.
    """

    def __init__(self, message: str, *, status: int = 400, error_type: str = "invalid_request_error") -> None:
        self.status = status
        self.error_type = error_type
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class MessageRequest:
    """What the limiter needs of a Messages body, as far as it can be read; the upstream judges the rest.

    Attributes:
        model: empty when it is missing or no string.
        max_tokens: None when it is missing or no whole number from 0.
        prefixes: the beginnings of the prompt that may be cached; none where nothing is marked for caching.
    """

    model: str
    max_tokens: int | None
    prefixes: tuple[Prefix, ...] = ()


def route_of(path: str) -> str:
    """The route of a `/v1/…` path, from a closed set: fit for a metric label."""
    if path == MESSAGES_ROUTE:
        return MESSAGES_ROUTE
    return next((route for route in _ROUTES if path == route or path.startswith(f"{route}/")), "/v1/other")


def most_body_bytes(route: str) -> int:
    """The upstream's limit for request bodies. Source: Claude Platform Docs, "Claude API errors" (read 2026-11-24)."""
    return 32 * _MB if route in {MESSAGES_ROUTE, "/v1/messages/count_tokens"} else 500 * _MB


def read_message(body: bytes) -> MessageRequest:
    """Reads a body of `POST /v1/messages`.

    Raises:
        InvalidCall: the body is not a JSON object.
    """
    try:
        fields = json.loads(body)
        is_cached = isinstance(fields, dict) and b"cache_control" in body
        prefixes = cacheable_prefixes(fields) if is_cached else ()
    except RecursionError:
        raise InvalidCall("the body is nested too deeply to be read as JSON") from None
    except ValueError as error:
        raise InvalidCall(f"the body is not valid JSON: {error}") from None
    if not isinstance(fields, dict):
        raise InvalidCall(f"the body must be a JSON object, got {_JSON_NAMES[type(fields)]}")
    model, max_tokens = fields.get("model"), fields.get("max_tokens")
    is_count = isinstance(max_tokens, int) and not isinstance(max_tokens, bool) and max_tokens >= 0
    return MessageRequest(
        model=model if isinstance(model, str) else "",
        max_tokens=max_tokens if is_count else None,
        prefixes=prefixes,
    )
