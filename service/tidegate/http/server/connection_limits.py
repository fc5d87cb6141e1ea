"""Bounds on what a client may do to a connection."""

from dataclasses import dataclass

__all__ = ["ConnectionLimits"]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Bounds of a client's connection.

    Attributes:
        head_bytes: size of a request's head; and of what frames a body beyond the usual, that is, of its trailers and
            chunk extensions.
        head_fields: number of a head's fields.
        head_seconds: from a head's first byte to its last.
        idle_seconds: from the connection to the first byte.
        body_idle_seconds: between two pieces of a body, while the service is ready to take them.
        unread_seconds: how long an answer may wait for a client that does not read: of a Messages call in all, because
            it holds quota; of others at a time.
    """

    head_bytes: int = 65_536
    head_fields: int = 256
    head_seconds: float = 30.0
    idle_seconds: float = 75.0
    body_idle_seconds: float = 60.0
    unread_seconds: float = 120.0
