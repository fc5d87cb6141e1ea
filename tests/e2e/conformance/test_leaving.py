"""Clients that disconnect during an upload or download, or stop reading: nothing leaks, and nothing is buffered."""

import contextlib
import http.client
import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import httpx2
import pytest

from support.conformance import CALLER_KEY, Twins
from support.processes import peak_kb, sockets_of

from .calls import FORM, FORM_END, FORM_FIELD, NEW_VERSION

MB = 1024 * 1024
SIZE_MB = 64
TIMES = 20
SETTLING_SECONDS = 15
KEYS = {"x-api-key": CALLER_KEY, "anthropic-version": NEW_VERSION}


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SETTLING_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_at_rest(pair: Twins) -> bool:
    """Whether there are no leases, no client connections, and only idle upstream connections."""
    metrics = httpx2.get(f"{pair.through}/metrics").text
    in_flight = [float(value) for value in re.findall(r"^tidegate_in_flight\{.*\} (\S+)$", metrics, re.MULTILINE)]
    sockets = sockets_of(pair.service.process.pid)
    return not any(in_flight) and not sockets.inbound and set(sockets.outbound) <= {"established"}


def head(method: str, path: str, **fields: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", *(f"{k}: {v}" for k, v in {**KEYS, **fields}.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@contextlib.contextmanager
def connected(pair: Twins) -> Iterator[socket.socket]:
    url = urlsplit(pair.through)
    with socket.create_connection((url.hostname, url.port or 0), timeout=30) as connection:
        yield connection


@pytest.fixture(scope="module")
def stored(pair: Twins) -> str:
    """The id of a file that is larger than all buffers together."""
    connection = http.client.HTTPConnection(urlsplit(pair.through).netloc, timeout=60)
    body = FORM_FIELD + bytes(SIZE_MB * MB) + FORM_END
    connection.request("POST", "/v1/files", body, {**KEYS, "content-type": FORM})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    assert answer["size_bytes"] == SIZE_MB * MB
    return str(answer["id"])


@pytest.mark.parametrize("framing", [{"content-length": str(SIZE_MB * MB)}, {"transfer-encoding": "chunked"}], ids=str)
def test_a_client_that_disconnects_during_an_upload(pair: Twins, framing: dict[str, str]) -> None:
    files = len(httpx2.get(f"{pair.through}/v1/files", headers=KEYS).json()["data"])
    for _ in range(TIMES):
        with connected(pair) as connection:
            piece = FORM_FIELD + bytes(MB)
            framed = b"%x\r\n%b\r\n" % (len(piece), piece) if "transfer-encoding" in framing else piece
            connection.sendall(head("POST", "/v1/files", **{"content-type": FORM}, **framing) + framed)
    eventually(lambda: is_at_rest(pair))
    assert len(httpx2.get(f"{pair.through}/v1/files", headers=KEYS).json()["data"]) == files


def test_a_client_that_disconnects_during_a_download(pair: Twins, stored: str) -> None:
    for _ in range(TIMES):
        with connected(pair) as connection:
            connection.sendall(head("GET", f"/v1/files/{stored}/content"))
            assert connection.recv(MB).startswith(b"HTTP/1.1 200 OK\r\n")
    eventually(lambda: is_at_rest(pair))


def test_a_slow_reader_exerts_backpressure_on_the_upstream(pair: Twins, stored: str) -> None:
    pid = pair.service.process.pid
    before_kb = peak_kb(pid)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            connection = stack.enter_context(connected(pair))
            connection.sendall(head("GET", f"/v1/files/{stored}/content"))
            assert connection.recv(1)
        # Other calls are served meanwhile; then all buffers are full.
        for _ in range(200):
            assert httpx2.get(f"{pair.through}/v1/models", headers=KEYS).status_code == 200
        assert peak_kb(pid) - before_kb < 16 * 1024
    eventually(lambda: is_at_rest(pair))
