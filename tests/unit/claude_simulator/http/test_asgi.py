"""Reading of request bodies, and cancellation when the client disconnects."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from claude_simulator.errors import ApiError
from claude_simulator.http.asgi import ClientGoneError, body_chunks, until_disconnect


def receiving(*messages: dict[str, Any]) -> Callable[[], Any]:
    """An ASGI `receive` that delivers these messages and then waits."""
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def body_of(receive: Callable[[], Any], headers: dict[str, str], *, limit_bytes: int) -> bytes:
    return b"".join([chunk async for chunk in body_chunks(receive, headers, limit_bytes=limit_bytes)])


def test_a_body_is_read_in_chunks() -> None:
    receive = receiving(part(b"ab", more=True), part(b"c", more=False))

    assert asyncio.run(body_of(receive, {}, limit_bytes=3)) == b"abc"


def test_a_body_is_refused_as_soon_as_it_is_too_large() -> None:
    with pytest.raises(ApiError, match="Request exceeds the maximum size of 3 bytes"):
        asyncio.run(body_of(receiving(part(b"ab", more=True), part(b"cd", more=True)), {}, limit_bytes=3))


def test_a_disconnect_within_the_body_is_raised() -> None:
    with pytest.raises(ClientGoneError):
        asyncio.run(body_of(receiving(part(b"ab", more=True), {"type": "http.disconnect"}), {}, limit_bytes=3))


def test_work_ends_with_its_result_or_its_error() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 3

    async def fail() -> int:
        raise ApiError(500, "api_error", "broken")

    assert asyncio.run(until_disconnect(receiving(part(b"", more=False)), work())) == 3
    with pytest.raises(ApiError, match="broken"):
        asyncio.run(until_disconnect(receiving(), fail()))


def test_work_is_cancelled_when_the_client_disconnects() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cleaned up")

    receive = receiving(part(b"", more=False), {"type": "http.disconnect"})
    assert asyncio.run(until_disconnect(receive, work())) is None
    assert ended == ["cleaned up"]


def test_work_is_cancelled_with_its_caller() -> None:
    async def main() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def work() -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        caller = asyncio.create_task(until_disconnect(receiving(), work()))
        await begun.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert ended.is_set()

    asyncio.run(main())
