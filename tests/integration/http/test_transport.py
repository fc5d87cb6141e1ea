"""The HTTP client over real sockets: framing, connections, back-pressure."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from support.raw_upstream import Exchange, RawUpstream
from support.transport import GET, OK, POST, run, says, whole
from tidegate.core.domain.errors import UpstreamUnreachable
from tidegate.core.ports.transport import TransportRequest
from tidegate.http.client.transport import HttpTransport

pytestmark = pytest.mark.usefixtures("each_event_loop")


def test_the_request_is_written_as_it_is_given() -> None:
    heads = []

    async def script(exchange: Exchange) -> None:
        heads.append(await exchange.request())
        await exchange.say(OK)

    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        assert await whole(transport) == (200, b"ok")
        host = upstream.url.removeprefix("http://").encode()
        head = b"POST /v1/messages HTTP/1.1\r\nhost: %b\r\nx: 1\r\ncontent-length: 2\r\n\r\n" % host
        assert heads == [(head, b"{}")]

    run(script, steps)


def test_a_connection_is_kept_alive_and_used_again() -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        assert [await whole(transport) for _ in range(3)] == [(200, b"ok")] * 3
        assert upstream.connections == 1

    run(says(OK, OK, OK), steps)


def test_a_connection_that_the_upstream_wants_closed_is_not_used_again() -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        assert [await whole(transport) for _ in range(2)] == [(200, b"ok")] * 2
        assert upstream.connections == 2

    run(says(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")), steps)


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nx-t: 1\r\n\r\n", 200, b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + OK, 200, b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 404, b""),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 90_000 + b"0\r\n\r\n",
            200,
            b"x" * 90_000,
        ),
    ],
)
def test_every_framing_is_read(answer: bytes, status: int, body: bytes) -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        assert await whole(transport) == (status, body)
        assert await whole(transport) == (200, b"ok")
        assert upstream.connections == 1

    run(says(answer, OK), steps)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nab",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nx: a\r\n\t b\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n x\r\ncontent-length: 2\r\n\r\nab",
    ],
)
def test_a_head_that_has_to_be_put_right_is_read_and_its_connection_not_used_again(answer: bytes) -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        assert await whole(transport) == (200, b"ab")
        assert await whole(transport) == (200, b"ab")
        assert upstream.connections == 2

    run(says(answer), steps)


def test_a_field_over_several_lines_is_put_on_one_however_it_is_cut() -> None:
    async def script(exchange: Exchange) -> None:
        for _ in range(2):
            await exchange.request()
            for part in (b"HTTP/1.1 200 OK\r\nx: a\r\n", b" b", b"\r\ncontent-length: 2\r\n\r", b"\nok"):
                await exchange.say(part)
                await asyncio.sleep(0.01)

    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        for _ in range(2):
            response = await transport.send(POST)
            assert response.headers == [(b"x", b"a b"), (b"content-length", b"2")]
            assert b"".join([chunk async for chunk in response.chunks()]) == b"ok"
            await response.aclose()
        assert upstream.connections == 2

    run(script, steps)


def test_an_answer_that_is_here_is_handed_out_whole_and_its_connection_is_free() -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        first = await transport.send(POST)
        assert first.whole() == b"ok"
        assert first.whole() is None, "it is handed out once"
        assert await whole(transport) == (200, b"ok")
        await first.aclose()
        assert upstream.connections == 1

    run(says(OK, OK), steps)


def test_an_answer_that_still_comes_is_not_handed_out_whole() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.say(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nok")
        await asyncio.sleep(0.05)
        await exchange.say(b"ok")

    async def steps(transport: HttpTransport, _upstream: RawUpstream) -> None:
        answer = await transport.send(POST)
        assert answer.whole() is None
        assert b"".join([chunk async for chunk in answer.chunks()]) == b"okok"
        await answer.aclose()
        assert answer.whole() is None, "it was read in parts"

    run(script, steps)


@pytest.mark.parametrize("framing", [b"", b"transfer-encoding: identity\r\n", b"transfer-encoding: chunked, gzip\r\n"])
def test_a_body_without_length_ends_with_its_connection(framing: bytes) -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        assert await whole(transport) == (200, b"until the end")
        assert await whole(transport) == (200, b"until the end")
        assert upstream.connections == 2

    run(says(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\nuntil the end"), steps)


def test_an_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        head = TransportRequest(b"HEAD", b"/v1/models", [])
        assert await whole(transport, head) == (200, b"")
        assert await whole(transport) == (200, b"ok")
        assert upstream.connections == 1

    run(says(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n", OK), steps)


def closes_after_one(working_seconds: float) -> Callable[[Exchange], Awaitable[None]]:
    """Responds to the first request of a connection; receives the second one, works on it, and closes."""

    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.say(OK)
        if exchange.number == 1:
            await exchange.request()
            await asyncio.sleep(working_seconds)

    return script


def test_a_replayable_request_on_a_stale_connection_is_sent_again() -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        assert await whole(transport) == (200, b"ok")
        transport._idle[0].round_trip_seconds = 5  # however busy this machine is, the close comes within it
        assert await whole(transport) == (200, b"ok")
        assert upstream.connections == 2

    run(closes_after_one(0), steps)


@pytest.mark.parametrize("request_", [GET, POST], ids=["get", "post"])
def test_a_request_that_the_upstream_had_time_to_accept_is_not_sent_again(request_: TransportRequest) -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        await whole(transport)
        with pytest.raises(UpstreamUnreachable) as caught:
            await whole(transport, request_)
        assert caught.value.may_have_been_accepted
        assert upstream.connections == 1

    run(closes_after_one(0.3), steps)


async def once() -> AsyncIterator[bytes]:
    yield b"once"


@pytest.mark.parametrize(
    "new_request",
    [
        lambda: TransportRequest(b"POST", b"/v1/files", [], once(), 4),
        lambda: TransportRequest(b"DELETE", b"/v1/files/x", []),
        lambda: TransportRequest(b"POST", b"/v1/messages/batches/x/cancel", []),
    ],
    ids=["streamed", "delete", "cancel"],
)
def test_a_request_that_may_do_harm_twice_is_never_sent_again(new_request: Callable[[], TransportRequest]) -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        await whole(transport)
        transport._idle[0].round_trip_seconds = 5
        with pytest.raises(UpstreamUnreachable):
            await whole(transport, new_request())
        assert upstream.connections == 1

    run(closes_after_one(0), steps)


def test_idle_connections_grow_old() -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        await whole(transport)
        transport._idle[0].idle_since_seconds -= 31
        await whole(transport)
        assert upstream.connections == 2

    run(says(OK, OK), steps, keep_alive_seconds=30)


def test_idle_connections_are_closed_though_another_one_is_in_use() -> None:
    async def script(exchange: Exchange) -> None:
        while True:
            await exchange.request()
            await exchange.say(OK)

    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        await asyncio.gather(*[whole(transport) for _ in range(4)])
        assert upstream.connections == 4
        for _ in range(12):
            await asyncio.sleep(0.05)
            await whole(transport)
        assert upstream.connections == 4
        assert [connection.is_open for connection in transport._idle] == [True]
        await asyncio.sleep(0.45)
        assert transport._idle == []

    run(script, steps, keep_alive_seconds=0.3)


def test_unsolicited_bytes_never_become_a_response() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.say(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
        await exchange.request()

    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        assert await whole(transport) == (200, b"ok")
        assert await whole(transport) == (200, b"ok")
        assert upstream.connections == 2

    run(script, steps)


def test_bytes_on_an_idle_connection_close_it() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.say(OK)
        await asyncio.sleep(0.02)
        await exchange.say(OK)
        await exchange.reader.readexactly(1)

    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        assert await whole(transport) == (200, b"ok")
        await upstream.left.wait()
        assert not transport._idle

    run(script, steps)


def test_a_body_in_chunks_is_sent_as_it_comes() -> None:
    received = []

    async def script(exchange: Exchange) -> None:
        for _ in range(2):
            received.append(await exchange.request())
            await exchange.say(OK)

    async def parts() -> AsyncIterator[bytes]:
        yield b"abc"
        yield b""
        yield b"de"

    async def steps(transport: HttpTransport, _: RawUpstream) -> None:
        await whole(transport, TransportRequest(b"POST", b"/v1/files", [], parts()))
        await whole(transport, TransportRequest(b"POST", b"/v1/files", [], parts(), 5))
        assert [body for _, body in received] == [b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"]

    run(script, steps)


def test_no_answer_is_due_while_an_upload_goes_on() -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(6):
            await asyncio.sleep(0.05)
            yield b"x"

    async def steps(transport: HttpTransport, _: RawUpstream) -> None:
        assert await whole(transport, TransportRequest(b"POST", b"/v1/files", [], slow())) == (200, b"ok")

    run(says(OK), steps, head_timeout_seconds=0.1)


def test_an_upload_is_not_read_faster_than_the_upstream_takes_it() -> None:
    go_on = asyncio.Event()
    given_bytes = 0

    async def script(exchange: Exchange) -> None:
        await go_on.wait()
        await exchange.request()
        await exchange.say(OK)

    async def parts() -> AsyncIterator[bytes]:
        nonlocal given_bytes
        for _ in range(1_000):
            given_bytes += 65_536
            yield b"x" * 65_536

    async def steps(transport: HttpTransport, _: RawUpstream) -> None:
        upload = asyncio.create_task(whole(transport, TransportRequest(b"POST", b"/v1/files", [], parts(), 65_536_000)))
        seen = -1
        while seen != given_bytes:  # until nothing moves any more
            seen = given_bytes
            await asyncio.sleep(0.05)
        assert given_bytes < 32_000_000
        go_on.set()
        assert await upload == (200, b"ok")

    run(script, steps)


def test_an_answer_before_the_end_of_an_upload_is_read_and_the_connection_given_up() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.reader.readuntil(b"\r\n\r\n")
        await exchange.say(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig")
        await exchange.reader.read()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        assert await whole(transport, TransportRequest(b"POST", b"/v1/files", [], endless())) == (413, b"big")
        assert not transport._idle
        assert upstream.connections == 1

    run(script, steps)


def test_a_connection_is_given_up_when_a_body_breaks_after_its_answer() -> None:
    broken = asyncio.Event()

    async def breaking() -> AsyncIterator[bytes]:
        yield b"x"
        await broken.wait()
        raise RuntimeError("the client left")

    async def script(exchange: Exchange) -> None:
        await exchange.reader.readuntil(b"\r\n\r\n")
        await exchange.say(OK)
        await exchange.reader.read()

    async def steps(transport: HttpTransport, _: RawUpstream) -> None:
        response = await transport.send(TransportRequest(b"POST", b"/v1/files", [], breaking()))
        assert [chunk async for chunk in response.chunks()] == [b"ok"]
        broken.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await response.aclose()
        assert not transport._idle

    run(script, steps)


def test_an_error_in_the_source_of_a_body_ends_the_exchange() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x"
        raise RuntimeError("the client left")

    async def steps(transport: HttpTransport, _: RawUpstream) -> None:
        with pytest.raises(RuntimeError, match="the client left"):
            await whole(transport, TransportRequest(b"POST", b"/v1/files", [], broken()))

    run(says(OK), steps)


def test_a_slow_reader_stops_the_upstream() -> None:
    sent_bytes = 0

    async def script(exchange: Exchange) -> None:
        nonlocal sent_bytes
        await exchange.request()
        await exchange.say(b"HTTP/1.1 200 OK\r\ncontent-length: 65536000\r\n\r\n")
        for _ in range(1_000):
            await exchange.say(b"x" * 65_536)
            sent_bytes += 65_536

    async def steps(transport: HttpTransport, _: RawUpstream) -> None:
        response = await transport.send(POST)
        seen = -1
        while seen != sent_bytes:  # until nothing moves any more
            seen = sent_bytes
            await asyncio.sleep(0.05)
        assert sent_bytes < 32_000_000
        assert sum([len(chunk) async for chunk in response.chunks()]) == 65_536_000
        await response.aclose()
        assert len(transport._idle) == 1

    run(script, steps)


def test_closing_before_the_end_closes_the_connection() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart")
        await exchange.reader.readexactly(1)

    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        response = await transport.send(POST)
        assert await anext(aiter(response.chunks())) == b"part"
        await response.aclose()
        await response.aclose()
        await upstream.left.wait()

    run(script, steps)


def test_cancelling_closes_the_connection_and_gives_the_slot_back() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.request()
        if exchange.number > 1:
            await exchange.say(OK)
        await exchange.reader.readexactly(1)

    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await transport.send(POST)
        await upstream.left.wait()
        assert await whole(transport) == (200, b"ok")

    run(script, steps, max_connections=1)


def test_one_exchange_more_than_connections_waits() -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        assert await asyncio.gather(*[whole(transport) for _ in range(5)]) == [(200, b"ok")] * 5
        assert upstream.connections <= 2

    run(says(*[OK] * 5), steps, max_connections=2)


def test_more_connections_are_used_at_once_and_fewer_end_no_exchange() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await asyncio.sleep(0.05)
        await exchange.say(OK)

    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        exchanges = asyncio.gather(*[whole(transport) for _ in range(6)])
        await asyncio.sleep(0.02)
        assert upstream.connections == 1
        transport.configure(idle_timeout_seconds=5, max_connections=3)
        await asyncio.sleep(0.02)
        assert upstream.connections == 3
        transport.configure(idle_timeout_seconds=5, max_connections=1)
        assert await exchanges == [(200, b"ok")] * 6
        before = upstream.connections
        assert await asyncio.gather(*[whole(transport) for _ in range(2)]) == [(200, b"ok")] * 2
        assert upstream.connections <= before + 2

    run(script, steps, max_connections=1)


def test_a_new_idle_timeout_counts_for_the_next_exchange_of_an_open_connection() -> None:
    async def script(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.say(OK)
        await exchange.request()
        await exchange.say(OK[:-1])
        await exchange.reader.read()

    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        assert await whole(transport) == (200, b"ok")
        transport.configure(idle_timeout_seconds=0.05, max_connections=5)
        with pytest.raises(UpstreamUnreachable):
            async with asyncio.timeout(5):
                await whole(transport)
        assert upstream.connections == 1

    run(script, steps)
