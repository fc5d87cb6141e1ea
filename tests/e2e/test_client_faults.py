"""Clients that disconnect, send wrong lengths, or stall: the service continues, and nothing leaks."""

import contextlib
import resource
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

from support.faulty_upstream import QUICK, faulted_service
from support.gateway import CONTENT, MESSAGE_START
from support.processes import resident_kb, sockets_of
from support.raw_upstream import Exchange
from support.service_and_simulator import ServiceAndSimulator, WatchedService, service_and_simulator

BODY = b'{"model":"claude-haiku-5-5","max_tokens":20,"messages":[{"role":"user","content":"hi"}]}'
HEAD = b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\n"
JSON = b"content-type: application/json\r\n"
IDLE_CONNECTIONS = 10_000


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceAndSimulator]:
    with service_and_simulator(tmp_path_factory.mktemp("faults"), variables=QUICK) as on:
        yield on


@pytest.fixture
def on(shared: ServiceAndSimulator) -> Iterator[ServiceAndSimulator]:
    """The service; afterwards it must be at rest, and its charges must agree with the upstream."""
    yield shared
    shared.comes_to_rest()
    for what in ("requests", "input_tokens", "output_tokens"):
        assert shared.charged(what) == shared.real(what), what


def connect(on: WatchedService) -> socket.socket:
    address = urlsplit(on.service.url)
    assert address.hostname is not None
    return socket.create_connection((address.hostname, address.port), timeout=10)


def say(on: WatchedService, *parts: bytes) -> bytes:
    """Send bytes, and return everything until the service closes the connection."""
    with connect(on) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while data := connection.recv(65_536):
                answer += data
        return answer


def with_length(length: int) -> bytes:
    return HEAD + JSON + b"connection: close\r\ncontent-length: %d\r\n\r\n" % length


def serves(on: ServiceAndSimulator) -> None:
    """Check that an ordinary call succeeds."""
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01", "content-type": "application/json"}
    answer = httpx2.post(f"{on.service.url}/v1/messages", content=BODY, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text


def test_an_ordinary_call(on: ServiceAndSimulator) -> None:
    answer = say(on, with_length(len(BODY)) + BODY)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b'"usage"' in answer


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"/v1/messages", b"application/json"),
        (b"/v1/messages/count_tokens", b"application/json"),
        (b"/v1/files", b"multipart/form-data; boundary=x"),
    ],
)
def test_a_disconnect_within_the_body(on: ServiceAndSimulator, path: bytes, kind: bytes) -> None:
    head = with_length(len(BODY)).replace(b"/v1/messages", path).replace(b"application/json", kind)
    with connect(on) as connection:
        connection.sendall(head + BODY[:30])
    serves(on)


def test_a_stalled_body_is_a_408(on: ServiceAndSimulator) -> None:
    answer = say(on, with_length(len(BODY)) + BODY[:30])
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"timeout_error"' in answer


def test_a_length_that_is_too_short_is_a_400(on: ServiceAndSimulator) -> None:
    answer = say(on, with_length(len(BODY) - 10) + BODY)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"invalid_request_error"' in answer


@pytest.mark.parametrize(
    "length", [b"content-length: x", b"content-length: -1", b"content-length: 5\r\ncontent-length: 6"]
)
def test_an_invalid_length_is_a_400(on: ServiceAndSimulator, length: bytes) -> None:
    answer = say(on, HEAD + JSON + length + b"\r\n\r\n" + BODY)
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_an_invalid_chunk_size_is_a_400(on: ServiceAndSimulator) -> None:
    answer = say(on, HEAD + JSON + b"transfer-encoding: chunked\r\n\r\nxyz\r\n" + BODY)
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_body_above_the_limit_is_a_413(on: ServiceAndSimulator) -> None:
    answer = say(on, with_length(40_000_000))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"request_too_large"' in answer


@pytest.mark.parametrize("field", [b"x: " + b"y" * 70_000 + b"\r\n", b"x: y\r\n" * 12_000])
def test_an_oversized_head_is_a_431(on: ServiceAndSimulator, field: bytes) -> None:
    answer = say(on, HEAD + field + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert b"the head is above 65536 bytes" in answer


def test_a_head_that_never_ends_is_a_408(on: ServiceAndSimulator) -> None:
    assert say(on, HEAD).startswith(b"HTTP/1.1 408 ")


def test_a_client_that_does_not_read_uses_bounded_time_and_memory(tmp_path: Path) -> None:
    event = CONTENT.replace(b"hi", b"x" * 50_000)
    written = 0

    async def endless(exchange: Exchange) -> None:
        nonlocal written
        await exchange.request()
        await exchange.say(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + MESSAGE_START)
        while True:
            await exchange.say(event)
            written += len(event)

    with faulted_service(tmp_path, TIDEGATE_SLOW_CLIENT_SECONDS="1") as on:
        on.upstream.fault = endless
        with connect(on) as connection:
            connection.sendall(with_length(len(BODY)) + BODY)
            assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")
            assert on.metrics("tidegate_in_flight")['{pool="haiku-5-5"}'] == 1
            on.comes_to_rest()  # although the client is still connected
        assert written < 30_000_000, "the upstream is held back, but for what the system buffers"
        assert on.charged("input_tokens") == 7
        assert on.charged("output_tokens") > 10_000, "what came is charged"


def test_ten_thousand_idle_connections_leave_room_for_others(tmp_path: Path) -> None:
    least = IDLE_CONNECTIONS + 500
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert before[1] >= least, f"`ulimit -Hn` is {before[1]}: this test opens {IDLE_CONNECTIONS} connections"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(before[0], least), before[1]))
    try:
        with service_and_simulator(tmp_path, variables=QUICK) as on, contextlib.ExitStack() as idle:
            pid = on.service.process.pid
            serves(on)
            resident = resident_kb(pid)
            for number in range(IDLE_CONNECTIONS):
                idle.enter_context(connect(on))
                if number % 2_500 == 0:
                    serves(on)
            serves(on)
            assert sockets_of(pid).inbound.total() >= IDLE_CONNECTIONS
            assert resident_kb(pid) - resident < 10 * IDLE_CONNECTIONS, "10 KiB each"
            idle.close()
            on.comes_to_rest()
            serves(on)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
