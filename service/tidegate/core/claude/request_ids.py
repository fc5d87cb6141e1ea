"""The id that the upstream gives to a request. Its support finds a request by it."""

from collections.abc import Mapping, Sequence
from typing import Final

from tidegate.core.claude.header_names import REQUEST_ID

__all__ = ["upstream_request_id"]

_NAME: Final = REQUEST_ID.encode()
_MAX_LENGTH: Final = 120
"""Ids of the Claude API have 28 characters."""


def upstream_request_id(headers: Sequence[tuple[bytes, bytes]] | Mapping[bytes, bytes]) -> str:
    """The value of `request-id` in the header fields of a response; empty without one."""
    fields = headers if isinstance(headers, Mapping) else {name.lower(): value for name, value in headers}
    return fields.get(_NAME, b"").decode("latin-1")[:_MAX_LENGTH]
