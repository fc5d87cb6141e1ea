"""Reads a body that is streamed as far as it can be kept, so that it can be checked before anything is sent."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from tidegate.gateway.deadlines import Deadline
from tidegate.gateway.receive.request import InvalidCall

__all__ = ["KEPT_BYTES", "read_start"]

KEPT_BYTES: Final = 4 * 1024 * 1024
"""A longer body, such as that of a batch, stays a stream."""


async def read_start(
    chunks: AsyncIterator[bytes], *, add_body_bytes: Callable[[int], None], timeout_seconds: float
) -> bytes | AsyncIterator[bytes]:
    """The whole body, if it has at most `KEPT_BYTES`; else its chunks.

    Args:
        chunks: the body.
        add_body_bytes: called with the number of bytes of each piece that is kept in memory.
        timeout_seconds: how long the body may take to arrive.

    Raises:
        InvalidCall: 408, it takes longer; and as `chunks`.
        Refusal: raised by `add_body_bytes`.
    """
    kept: list[bytes] = []
    kept_bytes = 0
    try:
        with Deadline(timeout_seconds):
            async for chunk in chunks:
                kept.append(chunk)
                kept_bytes += len(chunk)
                add_body_bytes(len(chunk))
                if kept_bytes > KEPT_BYTES:
                    return _continued(kept, chunks)
    except TimeoutError:
        text = f"the body did not arrive within the {timeout_seconds:g} s that the call may take"
        raise InvalidCall(text, status=408, error_type="timeout_error") from None
    return b"".join(kept)


async def _continued(kept: Sequence[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for chunk in kept:
        yield chunk
    async for chunk in rest:
        yield chunk
