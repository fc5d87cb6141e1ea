"""Distinguishes the usual framing of a body from excessive trailers and chunk extensions, for both sides of HTTP."""

from typing import Final

__all__ = ["excess_framing_bytes"]

_BYTES_PER_CHUNK: Final = 16
_BYTES_PER_BODY_BYTE: Final = 2
"""Framing that a body of many small chunks may have. Go's server and client allow as much."""


def excess_framing_bytes(received_bytes: int, body_bytes: int) -> int:
    """The bytes that count as excessive so far, after a part of a body.

    Args:
        received_bytes: all bytes since the head, less those that were found to be usual.
        body_bytes: the bytes of the part.
    """
    return max(0, received_bytes - (1 + _BYTES_PER_BODY_BYTE) * body_bytes - _BYTES_PER_CHUNK)
