"""`tidegate reload`: how it calls the service, and what it prints of the answer."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from tidegate.cli.reload import reload


class FakeService:
    """Gives one answer to all requests, and keeps their paths and keys."""

    def __init__(self) -> None:
        self.answer: tuple[int, bytes] = (200, b"")
        self.received: list[tuple[str, str | None]] = []
        self.url = ""


@pytest.fixture
def service() -> Iterator[FakeService]:
    fake = FakeService()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            fake.received.append((self.path, self.headers["x-api-key"]))
            status, body = fake.answer
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
            del format, args

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        fake.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TIDEGATE_ADMIN_KEY", "the-admin")


def run(*arguments: str) -> tuple[int, str]:
    ended = CliRunner().invoke(reload, arguments)
    return ended.exit_code, ended.output.strip()


def test_it_prints_what_changed(service: FakeService) -> None:
    answer = {
        "changes": [
            {"setting": "log_level", "change": "changed", "before": "info", "after": "debug"},
            {"setting": "callers.web", "change": "added"},
        ],
        "needs_restart": [{"setting": "metrics_port", "change": "changed", "before": None, "after": 9}],
    }
    service.answer = 200, json.dumps(answer).encode()
    assert run("--url", f"{service.url}/") == (
        0,
        'changed: log_level "info" → "debug"\nchanged: callers.web added\nneeds a restart: metrics_port not set → 9',
    )
    assert service.received == [("/api/system/reload", "the-admin")]
    code, printed = run("--url", service.url, "--json")
    assert (code, json.loads(printed)) == (0, answer)


def test_it_finds_the_service_by_its_configuration(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    service.answer = 200, b'{"changes": [], "needs_restart": []}'
    monkeypatch.setenv("TIDEGATE_PORT", service.url.rpartition(":")[2])
    monkeypatch.setenv("TIDEGATE_HOST", "127.0.0.1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("TIDEGATE_ADMIN_KEY", "")
    assert run() == (0, "nothing changed")
    assert service.received == [("/api/system/reload", None)]


@pytest.mark.parametrize(
    ("status", "body", "printed"),
    [
        (
            422,
            b'{"errors": [{"field": "f", "given": 0, "allowed": "more"}], "detail": "x"}',
            "f: got 0, allowed is more",
        ),
        (403, b'{"detail": "the key is not an admin key"}', "the key is not an admin key"),
        (502, b"<html>", "status 502"),
        (500, b"[]", "status 500"),
    ],
)
def test_an_error_says_why_nothing_was_reloaded(service: FakeService, status: int, body: bytes, printed: str) -> None:
    service.answer = status, body
    assert run("--url", service.url) == (1, f"Error: not reloaded: {printed}")


def test_an_answer_of_something_else_is_an_error(service: FakeService) -> None:
    service.answer = 200, b"<html>"
    code, printed = run("--url", service.url)
    assert code == 1
    assert "did not answer as expected" in printed


def test_a_refused_connection_is_an_error() -> None:
    code, printed = run("--url", "http://127.0.0.1:1")
    assert code == 1
    assert "Connection refused" in printed


def test_only_http_is_spoken() -> None:
    code, printed = run("--url", "file:///etc/passwd")
    assert code == 2
    assert "must begin with http:// or https://" in printed
