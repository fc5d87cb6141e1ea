"""An upstream that breaks in every way, before the real service: what a client gets, and that nothing is left."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from support.certificates import server_context
from support.faulty_upstream import (
    Fault,
    FaultedService,
    closed_port,
    faulted_service,
    faulty_upstream,
)
from support.gateway import ANSWER, CONTENT, MESSAGE_DELTA, MESSAGE_START, OVERLOADED_EVENT
from support.raw_upstream import Exchange, chunk, says_nothing
from support.tunnel_proxy import TunnelProxy

JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
)
HTML = b"<html><body>It works!</body></html>"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
ODD_EVENTS = (
    MESSAGE_START
    + b"event: content_block_delta\ndata: {not json\n\n"
    + b"nonsense\n\n: comment\n\ndata\n\n\xff\xfe\x00\nevent: from_the_future\r\ndata: 1\r\n\r\n"
    + b"event: message_delta\ndata: []\n\n"
)


def says(*parts: bytes) -> Fault:
    """Takes a request, says something to it, and closes the connection."""

    async def fault(exchange: Exchange) -> None:
        await exchange.request()
        for part in parts:
            await exchange.say(part)

    return fault


answers = says(JSON_HEAD % len(ANSWER) + ANSWER)


def resets_after(*parts: bytes) -> Fault:
    async def fault(exchange: Exchange) -> None:
        await says(*parts)(exchange)
        await asyncio.sleep(0.05)  # what was said must have arrived: a reset throws away what has not
        exchange.reset()

    return fault


def stalls_after(*parts: bytes) -> Fault:
    async def fault(exchange: Exchange) -> None:
        await says(*parts)(exchange)
        await exchange.reader.read()

    return fault


def once(fault: Fault) -> Fault:
    """The fault befalls the first connection only."""
    seen = 0

    async def script(exchange: Exchange) -> None:
        nonlocal seen
        seen += 1
        await (fault if seen == 1 else answers)(exchange)

    return script


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultedService]:
    with faulted_service(tmp_path_factory.mktemp("faults")) as service:
        yield service


@pytest.fixture
def on(shared: FaultedService) -> Iterator[FaultedService]:
    """The service with a new pool for each test; afterwards it must be at rest."""
    shared.new_pool()
    yield shared
    shared.comes_to_rest()


WITHOUT_ANSWER = {
    "reset before the head": resets_after(),
    "closed before the head": says(),
    "half a head, then closed": says(b"HTTP/1.1 200 OK\r\ncontent-ty"),
    "half a head, then reset": resets_after(b"HTTP/1.1 200 OK\r\ncontent-ty"),
    "reset after the head": resets_after(JSON_HEAD % len(ANSWER)),
    "closed after the head": says(JSON_HEAD % len(ANSWER)),
    "no HTTP": says(b"SSH-2.0-OpenSSH\r\n"),
    "two lengths": says((JSON_HEAD % 5).replace(b"\r\n\r\n", b"\r\ncontent-length: 6\r\n\r\n") + ANSWER),
}


@pytest.mark.parametrize("fault", WITHOUT_ANSWER.values(), ids=WITHOUT_ANSWER.keys())
def test_a_request_without_an_answer_is_sent_a_second_time_and_then_given_up(on: FaultedService, fault: Fault) -> None:
    before = on.charged("requests")
    received = on.ask(fault)
    assert (received.status, received.error(), received.headers["x-should-retry"]) == (502, "api_error", "false")
    assert (on.upstream.connections, received.headers["x-tidegate-attempts"]) == (2, "2")
    assert on.charged("requests") - before == 2, "both may have been accepted"


@pytest.mark.parametrize("fault", WITHOUT_ANSWER.values(), ids=WITHOUT_ANSWER.keys())
def test_a_fault_that_passes_is_not_noticed(on: FaultedService, fault: Fault) -> None:
    received = on.ask(once(fault))
    assert (received.status, received.body, received.broke) == (200, ANSWER, False)


def test_an_answer_that_does_not_come_in_time_is_a_504(on: FaultedService) -> None:
    before = on.charged("requests")
    received = on.ask(stalls_after(), seconds=2)
    assert (received.status, received.error()) == (504, "timeout_error")
    assert (on.upstream.connections, on.charged("requests") - before) == (1, 1)


STREAM = STREAM_HEAD + chunk(MESSAGE_START + CONTENT)
BROKEN = {
    "closed": says(JSON_HEAD % len(ANSWER), ANSWER[:20]),
    "reset": resets_after(JSON_HEAD % len(ANSWER) + ANSWER[:20]),
    "stalled": stalls_after(JSON_HEAD % len(ANSWER) + ANSWER[:20]),
    "shorter than its length": says(JSON_HEAD % 20_000 + ANSWER[:20]),
}


@pytest.mark.parametrize("fault", BROKEN.values(), ids=BROKEN.keys())
def test_a_body_that_breaks_is_relayed_with_the_same_bytes_and_break(on: FaultedService, fault: Fault) -> None:
    before = on.charged("requests")
    received = on.ask(fault)
    assert (received.status, received.body, received.broke) == (200, ANSWER[:20], True)
    assert (on.upstream.connections, on.charged("requests") - before) == (1, 1)


BROKEN_STREAMS = {"closed": says(STREAM), "reset": resets_after(STREAM), "stalled": stalls_after(STREAM)}


@pytest.mark.parametrize("fault", BROKEN_STREAMS.values(), ids=BROKEN_STREAMS.keys())
def test_a_stream_that_breaks_is_relayed_with_the_same_break_and_its_usage_is_charged(
    on: FaultedService, fault: Fault
) -> None:
    before = [on.charged(dimension) for dimension in ("requests", "input_tokens", "output_tokens")]
    received = on.ask(fault, stream=True)
    assert (received.status, received.body, received.broke) == (200, MESSAGE_START + CONTENT, True)
    after = [on.charged(dimension) for dimension in ("requests", "input_tokens", "output_tokens")]
    assert [new - old for new, old in zip(after, before, strict=True)] == [1, 7, 1]


def test_a_body_longer_than_its_length_is_cut_there_and_its_connection_never_used_again(on: FaultedService) -> None:
    async def smuggles(exchange: Exchange) -> None:
        await exchange.request()
        await exchange.say((JSON_HEAD % 20).replace(b"connection: close\r\n", b"") + ANSWER)
        await exchange.reader.read()

    received = on.ask(smuggles)
    assert (received.status, received.body, received.broke) == (200, ANSWER[:20], False)
    assert on.ask(answers).body == ANSWER
    assert on.upstream.connections == 2


def test_odd_events_pass_as_they_are(on: FaultedService) -> None:
    received = on.ask(says(STREAM_HEAD + chunk(ODD_EVENTS) + chunk(MESSAGE_DELTA) + b"0\r\n\r\n"), stream=True)
    assert (received.status, received.body, received.broke) == (200, ODD_EVENTS + MESSAGE_DELTA, False)


def test_a_page_of_html_passes_as_it_is(on: FaultedService) -> None:
    head = (JSON_HEAD % len(HTML)).replace(b"application/json", b"text/html")
    received = on.ask(says(head + HTML))
    assert (received.status, received.headers["content-type"], received.body) == (200, "text/html", HTML)


def test_a_stream_that_shows_nothing_but_pings_is_dead(on: FaultedService) -> None:
    async def pings(exchange: Exchange) -> None:
        await says(STREAM)(exchange)
        for _ in range(100):
            await asyncio.sleep(0.1)
            await exchange.say(chunk(PING))

    received = on.ask(pings, stream=True)
    assert (received.status, received.broke) == (200, True)
    assert received.body.startswith(MESSAGE_START + CONTENT + PING)
    assert 0 < received.body.count(PING) < 50


@pytest.mark.parametrize("seconds", [0.1, 2.0])
def test_an_error_before_content_is_hidden_while_the_head_is_held(on: FaultedService, seconds: float) -> None:
    async def fails_after_a_while(exchange: Exchange) -> None:
        await says(STREAM_HEAD + chunk(MESSAGE_START))(exchange)
        await asyncio.sleep(seconds)
        await exchange.say(chunk(OVERLOADED_EVENT) + b"0\r\n\r\n")

    received = on.ask(once(fails_after_a_while), stream=True)
    hidden = seconds < 0.25
    assert received.body == (ANSWER if hidden else MESSAGE_START + OVERLOADED_EVENT)
    assert on.upstream.connections == (2 if hidden else 1)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 2.0])
def test_the_head_of_a_stream_comes_with_its_first_event_or_after_a_quarter_of_a_second(
    on: FaultedService, seconds: float
) -> None:
    began: list[float] = []

    async def thinks(exchange: Exchange) -> None:
        await says(STREAM_HEAD + chunk(MESSAGE_START))(exchange)
        began.append(time.monotonic())
        await asyncio.sleep(seconds)
        await exchange.say(chunk(CONTENT) + chunk(MESSAGE_DELTA) + b"0\r\n\r\n")

    received = on.ask(thinks, stream=True)
    assert received.body == MESSAGE_START + CONTENT + MESSAGE_DELTA
    held_seconds, first_seconds = (at - began[0] for at in (received.head_at, received.first_at))
    least = min(seconds, 0.25)
    assert least - 0.01 <= held_seconds <= first_seconds <= least + 0.75, "and what a busy machine takes"


def unreachable(directory: Path, url: str, reason: str, *, least_attempts: int = 5) -> None:
    """The call is tried again, by single probes soon, as long as its client waits: until then, or just before."""
    with faulted_service(directory, url) as on:
        received = on.ask(seconds=1)
        assert (received.status, received.error()) in {(504, "timeout_error"), (502, "api_error")}
        assert reason in received.body.decode()
        assert received.headers["x-should-retry"] == "true"
        assert int(received.headers["x-tidegate-attempts"]) >= least_attempts
        for what in ("requests", "input_tokens", "output_tokens"):
            assert on.charged(what) == 0, "nothing was sent"
        on.comes_to_rest()


def test_a_connection_that_is_refused(tmp_path: Path) -> None:
    unreachable(tmp_path, f"http://127.0.0.1:{closed_port()}", "Connection refused")


def test_a_name_without_an_address(tmp_path: Path) -> None:
    unreachable(tmp_path, "http://no-such-host.invalid", "no response from the upstream: ")


async def speaks_at_once(exchange: Exchange) -> None:
    await exchange.say(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")


def test_an_upstream_that_speaks_no_tls(tmp_path: Path) -> None:
    with faulty_upstream() as plain:
        plain.fault = speaks_at_once
        unreachable(tmp_path, plain.url.replace("http", "https"), "no response from the upstream: ")


def test_a_tls_handshake_that_gets_no_answer(tmp_path: Path) -> None:
    with faulty_upstream() as mute:
        mute.fault = says_nothing
        reason = "no response from the upstream within"
        unreachable(tmp_path, mute.url.replace("http", "https"), reason, least_attempts=1)


def test_a_certificate_that_nobody_vouches_for(tmp_path: Path) -> None:
    with faulty_upstream(server_context(tmp_path)) as unknown:
        unknown.fault = answers
        unreachable(tmp_path, unknown.url.replace("http://127.0.0.1", "https://localhost"), "certificate")


def test_a_tunnel_through_the_proxy_of_the_environment(tmp_path: Path) -> None:
    way = TunnelProxy()
    with faulty_upstream(server_context(tmp_path)) as upstream, faulty_upstream() as proxy:
        upstream.fault, proxy.fault = answers, way
        variables = {
            "SSL_CERT_FILE": str(tmp_path / "certificate.pem"),
            "HTTPS_PROXY": proxy.url.replace("//", "//user:secret@"),
            "https_proxy": "",
            "NO_PROXY": "elsewhere.example",
            "no_proxy": "",
        }
        url = upstream.url.replace("http://127.0.0.1", "https://localhost")
        with faulted_service(tmp_path, url, **variables) as on:
            assert on.ask().body == ANSWER
            assert b"proxy-authorization: Basic dXNlcjpzZWNyZXQ=\r\n" in way.heads[0]
            on.comes_to_rest()
            assert "secret" not in on.service.printed()


@pytest.mark.parametrize("fault", ["DNS", "refused", "certificate"])
def test_an_upstream_that_was_never_reached_is_reported_within_five_seconds(tmp_path: Path, fault: str) -> None:
    with faulty_upstream(server_context(tmp_path)) as unknown:
        unknown.fault = answers
        url, reason = {
            "DNS": ("http://no-such-host.invalid", "no such host ("),
            "refused": (f"http://localhost:{closed_port()}", "Connection refused"),
            "certificate": (unknown.url.replace("http://127.0.0.1", "https://localhost"), "its certificate is not"),
        }[fault]
        with faulted_service(tmp_path, url) as on:
            began = time.monotonic()
            received = on.ask(seconds=60)
            assert time.monotonic() - began < 5
            assert (received.status, received.error()) == (529, "overloaded_error")
            assert (received.headers["x-tidegate-cause"], received.headers["retry-after"]) == ("upstream_outage", "5")
            assert f"the upstream cannot be reached: {reason}" in received.body.decode()
            ready = httpx2.get(f"{on.service.url}/readyz")
            assert (ready.status_code, len(ready.json()["reasons"])) == (503, 1)
            assert f"the upstream {url} cannot be reached: {reason}" in ready.json()["reasons"][0]
            lines = [line for line in on.service.printed().splitlines() if "cannot be reached" in line]
            assert len(lines) == 1
            assert ready.json()["reasons"][0] in lines[0]
            assert '"level":"warning"' in lines[0].replace(": ", ":")
            generated = httpx2.post(f"{on.service.url}/api/workflows/generate", json={"prompt": "wait"}, timeout=10)
            assert (generated.status_code, generated.json()["cause"]) == (529, "upstream_outage")
