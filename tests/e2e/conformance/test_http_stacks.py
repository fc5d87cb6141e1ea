"""Default HTTP clients of other languages, through the service and directly."""

import base64
import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from support.conformance import CALLER_KEY, Twins, requests_seen
from support.programs import output_of
from support.project import ROOT
from support.service_process import environment, running

from .calls import HELLO, SONNET, as_json

PROGRAMS = ROOT / "tests/clients"
JAVA = ("java", str(PROGRAMS / "HttpClientCalls.java"))
GO = ("go", "run", str(PROGRAMS / "http_calls.go"))
NODE = ("node", str(PROGRAMS / "fetch-calls.mjs"))
COMMON = ["message", "models", "stream", "chunked", "missing", "upload", "expect"]
STATUSES = {"missing": 404, "head": 405}
ASK = as_json({"model": SONNET, "max_tokens": 200, "messages": HELLO})
STREAM = as_json({"model": SONNET, "max_tokens": 200, "messages": HELLO, "stream": True})
OF_ONE_CONNECTION = {"expect", "upgrade", "http2-settings", "te", "trailer"}
"""Request headers that are not forwarded."""

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def answers_of(command: Sequence[str], url: str, cache: Path) -> list[tuple[str, int, bytes]]:
    """Name, status and body of each call that a program makes."""
    variables = environment(GOCACHE=str(cache), GOTOOLCHAIN="local")
    output = output_of(*command, url, CALLER_KEY, ASK.decode(), STREAM.decode(), env=variables, timeout=110)
    lines = (line.split("\t") for line in output.splitlines())
    return [(name, int(status), base64.b64decode(body)) for name, status, body in lines]


@pytest.mark.parametrize(
    ("command", "names"),
    [(JAVA, COMMON), (GO, [*COMMON, "trailers", "head"]), (NODE, [*COMMON, "trailers", "head"])],
    ids=["java", "go", "node"],
)
def test_a_client_cannot_tell_the_service_from_the_api(
    pair: Twins, cache: Path, command: Sequence[str], names: list[str]
) -> None:
    through, direct = (answers_of(command, url, cache) for url in pair.urls())
    assert through == direct
    expected = [(name, STATUSES.get(name, 200)) for name in [*names, *["parallel"] * 8]]
    assert [(name, status) for name, status, _ in through] == expected
    assert all(body for name, _, body in through if name in COMMON)

    behind, directly = ([comparable(request) for request in requests_seen(url)] for url in (pair.behind, pair.direct))
    count = len(expected)
    assert behind[-count:] == directly[-count:]


def comparable(request: dict[str, object]) -> dict[str, object]:
    fields = request["headers"]
    assert isinstance(fields, list)
    kept = [field for field in fields if field[0] not in OF_ONE_CONNECTION | {"content-length", "transfer-encoding"}]
    return {**request, "headers": sorted(kept)}


ANSWER_WITH_TRAILERS = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\ntrailer: x-checksum\r\n\r\n"
    b"2;extension=1\r\n{}\r\n0\r\nx-checksum: 1\r\n\r\n"
)


@contextlib.contextmanager
def upstream_with_trailers() -> Iterator[str]:
    """Serve connections one after the other, each with one response."""

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65_536)
                    connection.sendall(ANSWER_WITH_TRAILERS)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve)
        serving.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            serving.join()


@pytest.mark.parametrize("arguments", [[], ["-0"], ["-H", "te: trailers"]], ids=["1.1", "1.0", "te"])
def test_curl_gets_a_response_without_the_upstreams_trailers(tmp_path: Path, arguments: list[str]) -> None:
    with (
        upstream_with_trailers() as upstream,
        running(tmp_path, "serve", ANTHROPIC_API_KEY="k", TIDEGATE_UPSTREAM_URL=upstream) as service,
    ):
        command = ["curl", "--silent", "--show-error", "--max-time", "20", "-i", *arguments, f"{service.url}/v1/models"]
        answer = subprocess.run(command, capture_output=True, timeout=60, check=True).stdout
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-checksum" not in answer.partition(b"\r\n\r\n")[2]
    assert answer.endswith(b"{}")
