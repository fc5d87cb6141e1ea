"""The limits of what a client may do to a connection of the server, over real sockets."""

import asyncio
import contextlib

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


@pytest.mark.parametrize("head", [GET[:-2] + b"x: " + b"y" * 2_000 + b"\r\n\r\n", GET[:-2] + b"x: y\r\n" * 500])
def test_a_head_that_is_too_large_is_a_431(head: bytes) -> None:
    async def steps(_: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            writer.write(head)
            assert told(await reader.read()) == (431, "invalid_request_error", "the head is above 2000 bytes")

    assert heads_refused(run(steps)) == [(431, "127.0.0.1")]


def test_a_client_that_is_still_sending_gets_its_response_before_its_connection_is_closed() -> None:
    async def steps(_app: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            writer.write(GET[:-2] + b"x: y\r\n" * 500)
            assert told(await reader.read())[0] == 431
            with contextlib.suppress(ConnectionError):
                while True:
                    writer.write(b"x: y\r\n" * 100)
                    await writer.drain()
                    await asyncio.sleep(0.01)

    run(steps)


@pytest.mark.parametrize("waits_seconds", [0.1, 0.0])
@pytest.mark.parametrize(
    "nonsense",
    [b"nonsense\r\n\r\n", POST.replace(b"content-length: 10", b"transfer-encoding: chunked") + b"nonsense\r\n"],
    ids=["head", "body"],
)
def test_an_invalid_request_is_refused_after_the_answer_to_the_one_before_it(
    nonsense: bytes, waits_seconds: float
) -> None:
    async def steps(app: App, port: int) -> None:
        app.waits_seconds = waits_seconds
        async with connected(port) as (reader, writer):
            writer.write(GET + nonsense)
            assert (await reader.readuntil(END_OF_EARLY)).startswith(b"HTTP/1.1 200 OK\r\n")
            assert told(await reader.read())[0] == 400
        assert app.ended == ["/x sent"]

    run(steps)


@pytest.mark.parametrize(
    ("waits_seconds", "ended"), [(0.1, "left"), (0.0, "/x over")], ids=["before its answer", "while that goes out"]
)
def test_a_client_that_closes_its_sending_side_has_left(waits_seconds: float, ended: str) -> None:
    """It looks like a client that has disconnected."""

    async def steps(app: App, port: int) -> None:
        app.waits_seconds, app.megabytes = waits_seconds, 100
        async with connected(port) as (reader, writer):
            writer.write(GET)
            writer.write_eof()
            assert len(await reader.read()) < 100 * 2**20
        await app.over.wait()
        assert app.ended == [ended]

    run(steps)


CHUNKED = POST.replace(b"content-length: 10", b"transfer-encoding: chunked")
ENDLESS = [b"x: " + b"y" * 400_000, b"x: y\r\n" * 60_000]


@pytest.mark.parametrize(
    "framing",
    [
        b"0\r\n" + ENDLESS[0],
        b"0\r\n" + ENDLESS[1],
        b"1;x=" + b"y" * 400_000,
        (b"1;x=" + b"y" * 1_000 + b"\r\na\r\n") * 400,
    ],
    ids=["trailer", "trailers", "extension", "extensions"],
)
def test_endless_framing_of_a_body_is_refused(framing: bytes) -> None:
    async def steps(app: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            writer.write(CHUNKED + framing)
            message = "more than 2000 bytes of trailers or chunk extensions"
            assert told(await reader.read()) == (400, "invalid_request_error", message)
        await app.over.wait()
        assert app.ended == ["left"]

    run(steps)


def test_endless_framing_of_a_body_whose_call_is_answered_ends_its_connection_without_a_second_answer() -> None:
    async def steps(app: App, port: int) -> None:
        app.reads = False
        async with connected(port) as (reader, writer):
            writer.write(CHUNKED)
            assert (await reader.readuntil(END_OF_EARLY)).startswith(b"HTTP/1.1 200 OK\r\n")
            writer.write(b"0\r\n" + ENDLESS[0])
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""

    run(steps)


def test_trailers_and_chunk_extensions_are_dropped_and_small_chunks_are_no_excess() -> None:
    async def steps(_app: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            for _ in range(2):
                writer.write(CHUNKED + b"1;x=y\r\na\r\n" * 5_000 + b"0\r\nx-trailer: 1\r\n\r\n")
                assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"4\r\n5000\r\n0\r\n\r\n")

    run(steps)


H2C = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n\r\n"


@pytest.mark.parametrize("piece_bytes", [1, 100_000])
def test_a_request_that_asks_for_another_protocol_is_served_whole(piece_bytes: int) -> None:
    requests = [
        POST[:-2] + H2C + bytes(10),
        CHUNKED[:-2] + H2C + b"a\r\n0123456789\r\n0\r\n\r\n",
        POST + bytes(10),
        GET[:-2] + H2C,
    ]
    sent = b"".join(requests)

    async def steps(app: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            for start in range(0, len(sent), piece_bytes):
                writer.write(sent[start : start + piece_bytes])
                await asyncio.sleep(0)
            for length in (b"2\r\n10", b"2\r\n10", b"2\r\n10", b"1\r\n0"):
                answer = await reader.readuntil(b"\r\n0\r\n\r\n")
                assert answer.endswith(b"\r\n\r\n" + length + b"\r\n0\r\n\r\n")
        assert app.ended == [*["/v1/messages sent"] * 3, "/x sent"]

    run(steps)


@pytest.mark.parametrize(
    ("head", "status", "message"),
    [
        (b"GET / HTTP/1.1\r\nhost: a\r\nHost: a\r\n\r\n", 400, "the head has 2 Host fields; exactly one is allowed"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "the head has 0 Host fields; exactly one is allowed"),
        (GET.replace(b"1.1", b"2.0"), 505, "HTTP/2.0 is not supported; use HTTP/1.1"),
        (GET.replace(b"1.1", b"0.9"), 505, "HTTP/0.9 is not supported; use HTTP/1.1"),
        (GET[:-2] + b"x:\r\n" * 256 + b"\r\n", 431, "the head has more than 256 fields"),
    ],
)
def test_a_head_that_is_well_formed_but_unacceptable_is_refused(head: bytes, status: int, message: str) -> None:
    async def steps(_app: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            writer.write(head)
            assert told(await reader.read()) == (status, "invalid_request_error", message)

    assert heads_refused(run(steps)) == [(status, "127.0.0.1")]


def test_connect_ends_its_connection_because_nothing_behind_it_would_be_http() -> None:
    async def steps(app: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            writer.write(GET.replace(b"GET", b"CONNECT") + b"\x16\x03\x01 a TLS hello")
            assert b"connection: close" in await reader.read()
        assert app.ended == ["/x sent"]

    run(steps)


def test_bytes_behind_a_refused_request_are_not_read_for_long() -> None:
    async def steps(app: App, port: int) -> None:
        app.waits_seconds = 0.3
        async with connected(port) as (reader, writer):
            writer.write(GET + b"nonsense\r\n\r\n" + bytes(64_000_000))  # more than the kernel buffers
            await asyncio.sleep(0.1)
            assert writer.transport.get_write_buffer_size() > 0
            assert (await reader.readuntil(END_OF_EARLY)).startswith(b"HTTP/1.1 200 OK\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert told(await reader.read())[0] == 400

    run(steps)


def test_http_1_0_needs_no_host_and_ends_its_connection() -> None:
    async def steps(_app: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            writer.write(b"GET /x HTTP/1.0\r\n\r\n")
            assert (await reader.read()).endswith(b"\r\n\r\n0")

    run(steps)


@pytest.mark.parametrize("behind", [GET, POST, GET[:10]], ids=["request", "head", "part of a head"])
def test_a_client_that_leaves_while_its_next_request_waits_is_noticed(behind: bytes) -> None:
    async def steps(app: App, port: int) -> None:
        app.waits_seconds = 0.3
        async with connected(port) as (_, writer):
            writer.write(GET + behind)
            await asyncio.sleep(0.05)
        await app.over.wait()
        assert app.ended == ["left"]

    run(steps)


def test_a_bounded_number_of_requests_may_wait_and_the_connection_ends_after_them() -> None:
    async def steps(app: App, port: int) -> None:
        app.waits_seconds = 0.01
        async with connected(port) as (reader, writer):
            writer.write(GET * 5_000)
            answers = await reader.read()
        assert answers.count(b"HTTP/1.1 200 OK\r\n") == 1 + 16
        assert answers.count(b"connection: close") == 1

    run(steps)


def test_large_bodies_of_waiting_requests_are_not_all_taken_into_memory() -> None:
    async def steps(app: App, port: int) -> None:
        app.waits_seconds = 0.3
        count, size = 8, 1_000_000
        async with connected(port) as (reader, writer):
            writer.write((POST.replace(b" 10", b" %d" % size) + bytes(size)) * count)
            await asyncio.sleep(0.1)
            assert writer.transport.get_write_buffer_size() > 0
            app.waits_seconds = 0
            for _ in range(count):
                assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"7\r\n1000000\r\n0\r\n\r\n")

    run(steps)


def test_the_size_of_a_body_is_no_matter_of_the_heads() -> None:
    async def steps(_app: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            for _ in range(2):
                writer.write(POST.replace(b" 10", b" 5000") + bytes(5_000))
                assert (await reader.readuntil(b"0\r\n\r\n")).endswith(b"4\r\n5000\r\n0\r\n\r\n")

    run(steps)


@pytest.mark.parametrize("rest", [b"", b"12345"])
def test_a_body_whose_call_is_answered_already_gets_no_second_answer_and_does_not_keep_its_connection(
    rest: bytes,
) -> None:
    async def steps(app: App, port: int) -> None:
        app.reads = False
        async with connected(port) as (reader, writer):
            writer.write(POST)
            assert (await reader.readuntil(END_OF_EARLY)).startswith(b"HTTP/1.1 200 OK\r\n")
            writer.write(rest)
            assert await reader.read() == b""

    run(steps, keep_alive_seconds=1)
