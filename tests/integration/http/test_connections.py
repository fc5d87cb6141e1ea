"""The limits of what a client may do to a connection of the server, over real sockets."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from support.transport import LOOP
from support.write_batchers import write_batcher_in_use
from tidegate.core.domain.events import Event, HeadRefused
from tidegate.gateway.gateway_errors import unread_request
from tidegate.http.server.connection_limits import ConnectionLimits
from tidegate.http.server.listener import bind
from tidegate.http.server.server import HttpServer, serving

LIMITS = ConnectionLimits(
    head_bytes=2_000,
    head_seconds=0.5,
    idle_seconds=0.6,
    body_idle_seconds=0.5,
    unread_seconds=0.6,
    total_unread_paths={"/v1/messages"},
)
GET = b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n"
POST = b"POST /v1/messages HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\n"

END_OF_EARLY = b"\r\n\r\n1\r\n0\r\n0\r\n\r\n"
"""Of the answer to a request without a body, or to a body of which nothing was read."""

pytestmark = pytest.mark.usefixtures("busy_or_not")
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class App:
    """Responds with the body's length, at once or later, or with megabytes.

    It may respond before it has read the body.
    """

    def __init__(self) -> None:
        self.waits_seconds = 0.0
        self.megabytes = 0
        self.part_bytes = 64 * 1024
        self.reads = True
        self.ended: list[str] = []
        self.over = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(self.waits_seconds)
        length, more = 0, self.reads
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.ended.append("left")
                self.over.set()
                return
            length += len(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(self.megabytes * 1024 * 1024 // self.part_bytes):
            await send({"type": "http.response.body", "body": bytes(self.part_bytes), "more_body": True})
        await send({"type": "http.response.body", "body": b"%d" % length})
        gone = self.megabytes and (await receive())["type"] == "http.disconnect"
        self.ended.append(f"{scope['path']} {'sent' if not gone else 'over'}")
        self.over.set()


@pytest.fixture(params=[False, True], ids=["quiet", "busy"])
def busy_or_not(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOOP, "busy", request.param)


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def run(steps: Callable[[App, int], Awaitable[None]], *, keep_alive_seconds: int = 75) -> list[Event]:
    """Runs the steps; returns the events that were reported."""
    events: list[Event] = []

    async def main() -> None:
        app = App()
        listener = bind("127.0.0.1", 0, "host", "port")
        async with asyncio.timeout(20), write_batcher_in_use(busy=LOOP["busy"]) as write_batcher:
            server = HttpServer(
                app,
                listener,
                limits=LIMITS,
                report=events.append,
                write_batcher=write_batcher,
                error_response=unread_request,
            )
            server.config.timeout_keep_alive = keep_alive_seconds
            async with serving(server):
                await steps(app, listener.getsockname()[1])

    asyncio.run(main())
    return events


def heads_refused(events: list[Event]) -> list[tuple[int, str]]:
    """Status and client of each refused head; there are no other events."""
    assert all(isinstance(event, HeadRefused) and event.request_id for event in events)
    return [(event.status, event.client) for event in events if isinstance(event, HeadRefused)]


def told(answer: bytes) -> tuple[int, str, str]:
    """Status, error type and message of an error response."""
    head, _, body = answer.partition(b"\r\n\r\n")
    document = json.loads(body)
    error, request_id = document["error"], document["request_id"].encode()
    assert b"connection: close" in head
    assert b"\r\nrequest-id: " + request_id in head
    assert b"\r\nx-tidegate-request-id: " + request_id in head
    return int(head.split()[1]), error["type"], error["message"]


@pytest.mark.parametrize("head", [GET[:-2] + b"x: " + b"y" * 2_000 + b"\r\n\r\n", GET[:-2] + b"x: y\r\n" * 500])
def test_a_head_that_is_too_large_is_a_431(head: bytes) -> None:
    async def steps(_: App, port: int) -> None:
        async with connected(port) as (reader, writer):
            writer.write(head)
            assert told(await reader.read()) == (431, "invalid_request_error", "the head is above 2000 bytes")

    assert heads_refused(run(steps)) == [(431, "127.0.0.1")]


def test_who_is_still_sending_gets_its_answer_all_the_same_and_is_cut_off_in_the_end() -> None:
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


def test_what_comes_behind_a_refused_request_is_not_read_for_long() -> None:
    async def steps(app: App, port: int) -> None:
        app.waits_seconds = 0.3
        async with connected(port) as (reader, writer):
            writer.write(GET + b"nonsense\r\n\r\n" + bytes(8_000_000))
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


def test_what_is_not_http_is_a_400_in_the_shape_of_the_api() -> None:
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
