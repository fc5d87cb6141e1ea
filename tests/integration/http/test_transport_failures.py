"""The HTTP client with upstreams that break off, and with wrong settings."""

import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from support.certificates import server_context
from support.raw_upstream import Exchange, RawUpstream, raw_upstream, says_nothing
from support.transport import GET, OK, POST, run, run_in_loop, says, whole
from tidegate.core.domain.errors import ConfigurationError, UpstreamUnreachable
from tidegate.core.ports.transport import TransportRequest
from tidegate.http.client.transport import HttpTransport

pytestmark = pytest.mark.usefixtures("each_event_loop")


def fails(script: Callable[[Exchange], Awaitable[None]], *, accepted: bool, reason: str, **options: float) -> None:
    async def steps(transport: HttpTransport, _: RawUpstream) -> None:
        with pytest.raises(UpstreamUnreachable, match=reason) as caught:
            await whole(transport)
        assert caught.value.may_have_been_accepted is accepted

    run(script, steps, **options)


async def reset_before_the_head(exchange: Exchange) -> None:
    await exchange.request()
    exchange.reset()


def test_no_answer_at_all_may_have_been_accepted() -> None:
    fails(reset_before_the_head, accepted=True, reason="the connection was reset")
    fails(says(b""), accepted=True, reason="the connection was closed")
    fails(says(b"HTTP/1.1 200 OK\r\ncontent-le"), accepted=True, reason="the connection was closed")
    fails(says_nothing, accepted=True, reason=r"nothing arrived for 0\.05 s", head_timeout_seconds=0.05)


def test_a_request_that_was_not_sent_whole_was_not_accepted() -> None:
    async def reset_after_the_head(exchange: Exchange) -> None:
        await exchange.reader.readuntil(b"\r\n\r\n")
        exchange.reset()

    async def steps(transport: HttpTransport, _: RawUpstream) -> None:
        with pytest.raises(UpstreamUnreachable, match="reset") as caught:
            await whole(transport, TransportRequest(b"POST", b"/v1/messages", [], b"x" * 32_000_000))
        assert not caught.value.may_have_been_accepted

    run(reset_after_the_head, steps)


def test_an_answer_that_breaks_off_is_an_error_after_what_came() -> None:
    fails(says(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart"), accepted=True, reason="was closed")
    fails(says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\npart"), accepted=True, reason="was closed")


def test_a_body_that_stalls_is_an_error() -> None:
    async def stall(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart")
        await exchange.reader.read()

    fails(stall, accepted=True, reason=r"nothing arrived for 0\.05 s", idle_timeout_seconds=0.05)


@pytest.mark.parametrize(
    "answer",
    [
        b"<html>\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 12_000,
        b"HTTP/1.1 200 OK\r\nx: a\r\n b\r\ncontent-length: 0\n\r\n",
        b"HTTP/1.1 000 Nothing\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n x\r\n\r\na",
        b"HTTP/1.1 200 OK\r\ncontent-length: +1, +1\r\n\r\na",
    ],
)
def test_a_response_that_is_not_http_is_an_error(answer: bytes) -> None:
    fails(says(answer), accepted=True, reason="is not valid")


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n"


@pytest.mark.parametrize(
    "framing",
    [
        b"0\r\nx: " + b"y" * 600_000,
        b"0\r\n" + b"x: y\r\n" * 100_000,
        b"2;x=" + b"y" * 600_000,
        (b"2;x=" + b"y" * 60_000 + b"\r\nab\r\n") * 9,
    ],
    ids=["trailer", "trailers", "extension", "extensions"],
)
def test_endless_framing_of_a_body_is_an_error(framing: bytes) -> None:
    fails(says(CHUNKED + framing), accepted=True, reason="is not valid .more than 262144 bytes of trailers")


def test_a_refused_connection_was_never_accepted() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"

        async def main() -> None:
            with pytest.raises(UpstreamUnreachable, match="Connection refused") as caught:
                await HttpTransport(url).send(POST)
            assert not caught.value.may_have_been_accepted
            assert url.removeprefix("http://") not in str(caught.value)

        run_in_loop(main())


def test_a_connection_that_does_not_come_about_was_never_accepted() -> None:
    async def main() -> None:
        async with raw_upstream(says_nothing) as upstream:
            mute = HttpTransport(upstream.url.replace("http", "https"), connect_timeout_seconds=0.05)
            with pytest.raises(UpstreamUnreachable, match=r"no connection within 0\.05 s") as caught:
                await mute.send(POST)
            assert not caught.value.may_have_been_accepted

    run_in_loop(main())


def test_closing_spares_the_exchange_under_way_and_then_its_connection_is_closed() -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        response = await transport.send(POST)
        await transport.aclose()
        assert b"".join([chunk async for chunk in response.chunks()]) == b"ok"
        await response.aclose()
        await upstream.left.wait()

    run(says(OK, OK), steps)


def test_after_closing_nothing_is_sent() -> None:
    async def steps(transport: HttpTransport, upstream: RawUpstream) -> None:
        await whole(transport)
        await transport.aclose()
        with pytest.raises(UpstreamUnreachable, match="shutting down"):
            await transport.send(GET)
        assert upstream.connections == 1

    run(says(OK, OK), steps)


@pytest.mark.parametrize(
    "url",
    ["ftp://host", "host:80", "http://", "http://h/?q=1", "http://h/#f", "http://h:x", "http://ho st", "http://ü"],
)
def test_a_url_that_cannot_be_an_upstream_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="base_url"):
        HttpTransport(url)


def test_credentials_in_the_url_are_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        HttpTransport("http://user:secret@host")
    assert "secret" not in str(caught.value)


def test_numbers_must_be_above_zero() -> None:
    with pytest.raises(ConfigurationError, match="connect_timeout_seconds: got 0, allowed is a number above 0"):
        HttpTransport("http://host", connect_timeout_seconds=0)


def test_a_path_in_the_url_goes_before_every_target() -> None:
    heads = []

    async def script(exchange: Exchange) -> None:
        heads.append((await exchange.request())[0])
        await exchange.say(OK)

    async def main() -> None:
        async with raw_upstream(script) as upstream:
            transport = HttpTransport(f"{upstream.url}/anthropic/")
            assert await whole(transport, GET) == (200, b"ok")
            await transport.aclose()

    run_in_loop(main())
    assert heads[0].startswith(b"GET /anthropic/v1/models HTTP/1.1\r\n")
    assert b"content-length" not in heads[0]


def test_tls_is_spoken_and_certificates_are_checked(tmp_path: Path) -> None:
    server_side = server_context(tmp_path)

    async def main() -> None:
        async with raw_upstream(says(OK, OK), server_side) as upstream:
            url = upstream.url.replace("http://127.0.0.1", "https://localhost")
            trusting = HttpTransport(
                url, ssl_context=ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
            )
            assert [await whole(trusting) for _ in range(2)] == [(200, b"ok")] * 2
            assert upstream.connections == 1
            await trusting.aclose()
            with pytest.raises(UpstreamUnreachable, match="certificate") as caught:
                await whole(HttpTransport(url))
            assert not caught.value.may_have_been_accepted

    run_in_loop(main())
