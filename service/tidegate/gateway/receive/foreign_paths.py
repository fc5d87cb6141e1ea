"""Explains paths that clients call by mistake, or that belong to another API."""

import re
from typing import Final

from tidegate.gateway.receive.request import InvalidCall

__all__ = ["foreign_path", "no_such_path"]

_SERVED: Final = (
    "this service serves the Claude API: /v1/messages, /v1/messages/batches, /v1/models, /v1/files, other /v1/…"
)
_CLOUDS: Final = (
    (re.compile(r"(?:/v1)?/model/"), "Amazon Bedrock", "AnthropicBedrock"),
    (re.compile(r"(?:/v1)?/projects/.*/publishers/"), "Google Vertex AI", "AnthropicVertex"),
)
"""Path prefixes of other APIs, and the clients that call them (Python SDK 2.12.0, `lib/bedrock`, `lib/vertex`)."""


def foreign_path(path: str) -> InvalidCall | None:
    """The error for a `/v1` path that the API is known not to have; None for any other path: it is sent upstream."""
    if path.startswith("/v1/v1/"):
        return _not_found(f"no such path: {path[:80]!r}; the base URL must not end in /v1")
    return _cloud_path(path)


def no_such_path(path: str) -> InvalidCall:
    """The error for a path outside of `/v1` that is not served, in the shape that SDKs expect."""
    return _cloud_path(path) or _not_found(f"no such path: {path[:80]!r}; {_SERVED}")


def _cloud_path(path: str) -> InvalidCall | None:
    for pattern, cloud, client in _CLOUDS:
        if pattern.match(path):
            return _not_found(f"{cloud}'s API is not supported; {_SERVED}. Use the client Anthropic, not {client}")
    return None


def _not_found(message: str) -> InvalidCall:
    return InvalidCall(message, status=404, error_type="not_found_error")
