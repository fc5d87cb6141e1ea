"""Limits on what a client may do to a connection."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass

__all__ = ["ConnectionLimits"]

_NO_PATHS: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Limits of a client's connection.

    Attributes:
        head_bytes: size of a request's head; also of the trailers and chunk extensions of its body, beyond the usual.
        head_fields: number of header fields.
        head_seconds: from the first byte of a head to its last.
        idle_seconds: from the connection to the first byte.
        body_idle_seconds: between two pieces of a body, while the service is ready to take them.
        unread_seconds: how long a response may wait for a client that does not read, at a time.
        total_unread_paths: paths whose responses may wait so long in total instead.
    """

    head_bytes: int = 65_536
    head_fields: int = 256
    head_seconds: float = 30.0
    idle_seconds: float = 75.0
    body_idle_seconds: float = 60.0
    unread_seconds: float = 120.0
    total_unread_paths: AbstractSet[str] = _NO_PATHS
