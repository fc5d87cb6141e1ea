"""Bodies that are kept to be checked, and those that are too long for that."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from support.virtual_time import VirtualClock, run_virtual
from tidegate.gateway.receive.body_start import KEPT_BYTES, read_start
from tidegate.gateway.receive.request import InvalidCall

MB = b"x" * 1024 * 1024


async def chunks(*pieces: bytes, pause_seconds: float = 0.0) -> AsyncIterator[bytes]:
    for piece in pieces:
        await asyncio.sleep(pause_seconds)
        yield piece


@pytest.mark.parametrize("pieces", [(), (b"a",), (b"a", b"b"), (MB,) * 4])
def test_a_short_body_is_read_whole(pieces: Sequence[bytes]) -> None:
    counted: list[int] = []
    body = run_virtual(read_start(chunks(*pieces), add_body_bytes=counted.append, timeout_seconds=1), VirtualClock())
    assert body == b"".join(pieces)
    assert counted == [len(piece) for piece in pieces]


def test_a_long_body_stays_a_stream_of_which_little_is_kept() -> None:
    counted: list[int] = []
    pieces = [*[MB] * 7, b"end"]

    async def steps() -> None:
        body = await read_start(chunks(*pieces), add_body_bytes=counted.append, timeout_seconds=1)
        assert not isinstance(body, bytes)
        assert sum(counted) == KEPT_BYTES + len(MB)
        assert [chunk async for chunk in body] == pieces

    run_virtual(steps(), VirtualClock())


def test_a_body_that_takes_too_long_is_a_408() -> None:
    slow = chunks(b"a", b"b", pause_seconds=2)
    with pytest.raises(InvalidCall, match="within the 3 s") as late:
        run_virtual(read_start(slow, add_body_bytes=lambda _: None, timeout_seconds=3), VirtualClock())
    assert late.value.status == 408
