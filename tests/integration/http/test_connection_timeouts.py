"""Time limits of clients, over real sockets, with limits of parts of a second."""

import asyncio
import contextlib
import json

import pytest

from support.connection_app import (
    END_OF_EARLY,
    GET,
    POST,
    App,
    connected,
    heads_refused,
    run,
    told,
)
from tidegate.core.domain.events import HeadRefused


def test_a_connection_goes_on_after_such_a_body_and_is_closed_when_it_is_idle() -> None:
    async def steps(app: App, port: int) -> None:
        app.reads = False
        async with connected(port) as (reader, writer):
            for _ in range(2):
                writer.write(POST)
                assert (await reader.readuntil(END_OF_EARLY)).startswith(b"HTTP/1.1 200 OK\r\n")
                writer.write(bytes(10))
                await asyncio.sleep(0.7)
            assert await reader.read() == b""

    run(steps, keep_alive_seconds=1)


def test_a_head_must_come_in_time_however_many_bytes_it_comes_in() -> None:
    async def steps(_: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            answer = asyncio.create_task(reader.read())
            for byte in GET:
                writer.write(bytes([byte]))
                await asyncio.wait({answer}, timeout=0.05)
                if answer.done():
                    break
            assert told(await answer) == (408, "timeout_error", "the head did not arrive within 0.5 s")

    assert heads_refused(run(steps)) == [(408, "127.0.0.1")]


def test_a_connection_that_says_nothing_is_closed() -> None:
    async def steps(_app: App, port: int) -> None:
        async with connected(port) as (reader, _writer):
            assert await reader.read() == b""

    run(steps)


def test_a_body_that_stalls_is_a_408_and_its_call_ends() -> None:
    async def steps(app: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            writer.write(POST + b"1234")
            assert told(await reader.read()) == (408, "timeout_error", "nothing of the body arrived for 0.5 s")
        assert app.ended == ["left"]

    assert run(steps) == []  # the call reports itself


def test_a_body_that_goes_on_may_take_its_time() -> None:
    async def steps(_app: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            writer.write(POST)
            for _ in range(10):
                await asyncio.sleep(0.08)
                writer.write(b"x")
            assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"2\r\n10\r\n0\r\n\r\n")

    run(steps)


def test_a_body_that_the_service_does_not_take_yet_is_not_late() -> None:
    async def steps(app: App, port: int) -> None:
        app.waits_seconds = 1.2
        async with connected(port) as (reader, writer):
            writer.write(POST.replace(b" 10", b" 5000000") + bytes(5_000_000))
            assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"7\r\n5000000\r\n0\r\n\r\n")

    run(steps)


@pytest.mark.parametrize("path", [b"/v1/messages", b"/v1/files"])
def test_a_client_that_does_not_read_its_answer_is_cut_off(path: bytes) -> None:
    async def steps(app: App, port: int) -> None:
        app.megabytes = 40
        async with connected(port) as (_, writer):
            writer.write(GET.replace(b"/x", path))
            await app.over.wait()
        assert app.ended == [path.decode() + " over"]

    run(steps)


@pytest.mark.parametrize("part_bytes", [64 * 1024, 1_000_000, 4_096])
@pytest.mark.parametrize(("path", "whole"), [(b"/v1/messages", False), (b"/v1/files", True)])
def test_a_client_that_reads_slowly_holds_quota_for_a_bounded_time_only(
    path: bytes, part_bytes: int, *, whole: bool
) -> None:
    async def steps(app: App, port: int) -> None:
        app.megabytes, app.part_bytes = 41, part_bytes
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1_000_000)
        writer.write(GET.replace(b"/x", path))
        seen = 0
        pause_seconds = 0.05 if whole else 0.2  # the machine may be slower to send than this client is to read
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(2_000_000):
                seen += len(data)
                await asyncio.sleep(pause_seconds if seen < 38_000_000 else 0)
                if data.endswith(b"\r\n0\r\n\r\n"):
                    break
        writer.close()
        assert (seen > 40 * 1024 * 1024) is whole

    run(steps)


@pytest.mark.parametrize("target", ["/v1/mödels", "/v1/models?x=ä", "/v1/m\x00"])
def test_a_target_that_is_not_ascii_is_a_400_in_words(target: str) -> None:
    seen: list[bytes] = []

    async def steps(_: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            writer.write(GET.replace(b"/x", target.encode()))
            seen.append(await reader.read())

    (event,) = run(steps)
    message = "the URL has a character that is not allowed: percent-encode all but visible ASCII"
    assert told(seen[0]) == (400, "invalid_request_error", message)
    assert isinstance(event, HeadRefused)
    assert json.loads(seen[0].partition(b"\r\n\r\n")[2])["request_id"] == event.request_id


def test_bytes_that_are_not_http_are_a_400_in_the_shape_of_the_api() -> None:
    async def steps(_: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            writer.write(b"\x16\x03\x01 a TLS hello\r\n\r\n")
            assert told(await reader.read())[:2] == (400, "invalid_request_error")

    assert heads_refused(run(steps)) == [(400, "127.0.0.1")]


def test_a_head_after_an_answer_has_its_own_time() -> None:
    async def steps(_app: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            for _ in range(4):
                await asyncio.sleep(0.15)
                writer.write(GET[:10])
                await asyncio.sleep(0.1)
                writer.write(GET[10:])
                assert (await reader.readuntil(b"0\r\n\r\n")).startswith(b"HTTP/1.1 200 OK")

    run(steps)
