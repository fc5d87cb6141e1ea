"""Paths that clients call by mistake, or by an API that is not served here; each gets an answer that says so."""

import re
from typing import Final

from tidegate.gateway.receive.request import InvalidCall

__all__ = ["foreign_path", "no_such_path"]

_SERVED: Final = (
    "this service has the Claude API: /v1/messages, /v1/messages/batches, /v1/models, /v1/files, other /v1/…"
)
_CLOUDS: Final = (
    (re.compile(r"(?:/v1)?/model/"), "Amazon Bedrock", "AnthropicBedrock"),
    (re.compile(r"(?:/v1)?/projects/.*/publishers/"), "Google Vertex AI", "AnthropicVertex"),
)
"""Beginnings of paths, and the clients that call them (Anthropic Python SDK 2.12.0, `lib/bedrock` and `lib/vertex`)."""


def foreign_path(path: str) -> InvalidCall | None:
    """The answer to a `/v1` path that the API is known not to have; None for any other, which the upstream judges."""
    if path.startswith("/v1/v1/"):
        return _not_found(f"no such path: {path[:80]!r}; the base URL is that of this service without /v1")
    return _cloud_path(path)


def no_such_path(path: str) -> InvalidCall:
    """The answer to a path outside of `/v1` that nobody serves, for the client of an SDK."""
    return _cloud_path(path) or _not_found(f"no such path: {path[:80]!r}; {_SERVED}")


def _cloud_path(path: str) -> InvalidCall | None:
    for pattern, cloud, client in _CLOUDS:
        if pattern.match(path):
            return _not_found(f"{cloud}'s API is not supported; {_SERVED}. Use the client Anthropic, not {client}")
    return None


def _not_found(message: str) -> InvalidCall:
    return InvalidCall(message, status=404, error_type="not_found_error")
