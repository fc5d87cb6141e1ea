"""A gateway in front of an upstream that breaks off, and clients that disconnect, over real sockets."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from support.gateway import ANSWER, CONTENT, MESSAGE, MESSAGE_START, Rig, make_gateway, until
from support.raw_upstream import Exchange, RawUpstream, chunk, raw_upstream
from support.servers import serve
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.engine.clock import SystemClock
from tidegate.http.client.transport import HttpTransport

Script = Callable[[Exchange], Awaitable[None]]
Steps = Callable[[str, Rig, RawUpstream], Awaitable[None]]

JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def run(script: Script, steps: Steps) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), raw_upstream(script) as upstream:
            transport = HttpTransport(upstream.url, idle_timeout_seconds=0.3)
            policy = RetryPolicy(max_attempts=3, base_delay_seconds=0.01, max_delay_seconds=0.01)
            rig = make_gateway(transport, SystemClock(), policy=policy)
            async with serve(rig.gateway) as url:
                await steps(url, rig, upstream)
                await rig.finished()
            await transport.aclose()

    asyncio.run(main())


async def post(url: str, path: str = "/v1/messages", data: bytes | None = None) -> tuple[int, bytes]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(url + path, data=json.dumps(MESSAGE).encode() if data is None else data) as response,
    ):
        return response.status, await response.read()


def breaks_once(first: bytes, *, reset: bool = False) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.request()
        if exchange.number > 1:
            await exchange.say(JSON_HEAD + ANSWER)
        else:
            await exchange.say(first)
            if reset:
                exchange.reset()

    return script


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nconte", b"not http\r\n\r\n", JSON_HEAD])
@pytest.mark.parametrize("reset", [False, True])
def test_a_break_before_the_first_byte_of_the_body_is_repeated_once(first: bytes, *, reset: bool) -> None:
    async def steps(url: str, rig: Rig, upstream: RawUpstream) -> None:
        assert await post(url) == (200, ANSWER)
        assert upstream.connections == 2
        assert rig.outcomes() == ["abandoned", "settled"]

    run(breaks_once(first, reset=reset), steps)


def works_in_vain_once(seconds: float) -> Script:
    """Responds to the first request; receives the second one on the same connection, works on it, and closes."""

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.say(JSON_HEAD + ANSWER)
        if exchange.number == 1:
            await exchange.request()
            await asyncio.sleep(seconds)

    return script


def test_a_request_that_the_upstream_has_worked_on_is_repeated_as_a_counted_attempt() -> None:
    async def steps(url: str, rig: Rig, upstream: RawUpstream) -> None:
        assert await post(url) == (200, ANSWER)
        assert await post(url) == (200, ANSWER)
        assert upstream.connections == 2
        assert rig.outcomes() == ["settled", "abandoned", "settled"]

    run(works_in_vain_once(0.3), steps)


def test_a_request_that_changes_something_is_sent_once_even_on_a_connection_that_closes_at_once() -> None:
    async def steps(url: str, rig: Rig, upstream: RawUpstream) -> None:
        assert await post(url) == (200, ANSWER)
        status, _ = await post(url, "/v1/messages/batches/x/cancel", b"")
        assert status == 502
        assert upstream.connections == 1
        assert rig.outcomes() == ["settled", "abandoned"]

    run(works_in_vain_once(0), steps)


def test_a_body_that_breaks_off_breaks_off_for_the_client() -> None:
    async def steps(url: str, _: Rig, upstream: RawUpstream) -> None:
        with pytest.raises(aiohttp.ClientPayloadError):
            await post(url)
        assert upstream.connections == 1

    run(breaks_once(JSON_HEAD + ANSWER[:5]), steps)


def test_a_body_that_stalls_breaks_off() -> None:
    async def stall(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.say(JSON_HEAD + ANSWER[:5])
        await exchange.reader.read()

    async def steps(url: str, _: Rig, upstream: RawUpstream) -> None:
        with pytest.raises(aiohttp.ClientPayloadError):
            await post(url)
        await until(upstream.tasks[0].done)

    run(stall, steps)


def test_a_body_that_ends_with_its_connection_arrives_whole() -> None:
    async def steps(url: str, rig: Rig, _: RawUpstream) -> None:
        assert await post(url) == (200, ANSWER)
        assert rig.outcomes() == ["settled"]

    run(breaks_once(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n" + ANSWER), steps)


def test_an_upload_passes_in_chunks_and_is_not_repeated() -> None:
    uploads = []

    async def script(exchange: Exchange) -> None:
        uploads.append((await exchange.request())[1])
        exchange.reset()

    async def steps(url: str, rig: Rig, _: RawUpstream) -> None:
        status, body = await post(url, "/v1/files", b"x" * 300_000)
        assert (status, json.loads(body)["error"]["type"]) == (502, "api_error")
        assert uploads == [b"x" * 300_000]
        assert rig.outcomes() == ["abandoned"]

    run(script, steps)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_client_that_leaves_cancels_its_upstream_call(*, streaming: bool) -> None:
    reached = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        if streaming:
            await exchange.say(STREAM_HEAD + chunk(MESSAGE_START + CONTENT))
        reached.set()
        await exchange.reader.readexactly(1)

    async def steps(url: str, rig: Rig, upstream: RawUpstream) -> None:
        call = asyncio.create_task(post(url))
        await reached.wait()
        await asyncio.sleep(0.02)
        call.cancel()
        async with asyncio.timeout(0.5):  # 0.1 is meant; a busy machine gets some slack
            await upstream.left.wait()
        await rig.finished()
        assert rig.outcomes() == ["abandoned"]

    run(script, steps)


def test_a_client_that_leaves_during_its_upload_ends_the_call() -> None:
    reached = asyncio.Event()

    async def script(exchange: Exchange) -> None:
        await exchange.reader.readuntil(b"\r\n\r\n")
        reached.set()
        while await exchange.reader.read(65_536):
            pass
        raise ConnectionError

    async def steps(url: str, rig: Rig, upstream: RawUpstream) -> None:
        host, port = url.removeprefix("http://").split(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/files HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\npart")
        await reached.wait()
        writer.close()
        async with asyncio.timeout(1):
            await upstream.left.wait()
        await rig.finished()
        assert rig.outcomes() == ["released"]

    run(script, steps)


def test_a_slow_client_slows_the_upstream_down() -> None:
    sent_bytes = 0

    async def script(exchange: Exchange) -> None:
        nonlocal sent_bytes
        await exchange.request()
        await exchange.say(STREAM_HEAD + chunk(MESSAGE_START + CONTENT))
        for _ in range(1_000):
            await exchange.say(chunk(b"x" * 65_536))
            sent_bytes += 65_536
        await exchange.say(b"0\r\n\r\n")

    async def steps(url: str, _: Rig, __: RawUpstream) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/v1/messages", data=json.dumps(MESSAGE)) as response,
        ):
            seen = -1
            while seen != sent_bytes:  # until nothing moves any more
                seen = sent_bytes
                await asyncio.sleep(0.05)
            assert sent_bytes < 40_000_000
            received = len(await response.read())
        assert received == 65_536_000 + len(MESSAGE_START + CONTENT)

    run(script, steps)
