"""curl through the service and directly, with features of HTTP that SDKs do not use."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.conformance import CALLER_KEY, Answered, Twins, comparable

from .calls import FORM, FORM_END, FORM_FIELD, HELLO, SONNET, as_json

ASK = as_json({"model": SONNET, "max_tokens": 200, "messages": HELLO})
STREAM = as_json({"model": SONNET, "max_tokens": 200, "messages": HELLO, "stream": True})
COUNT = as_json({"model": SONNET, "messages": [{"role": "user", "content": "x" * 1_500_000}]})
UPLOAD = FORM_FIELD + bytes(range(256)) * 6_000 + FORM_END

JSON = ("-H", "content-type: application/json")
CHUNKED = ("-H", "transfer-encoding: chunked")
EXPECT = ("-H", "expect: 100-continue")
BODY = ("--data-binary", "@-")


def curl(directory: Path, *arguments: str, body: bytes = b"") -> tuple[int, str, bytes]:
    """Run curl. Return its exit code, the heads of all responses, and the last body."""
    head, out = directory / "head", directory / "body"
    out.write_bytes(b"")
    keys = ("-H", f"x-api-key: {CALLER_KEY}", "-H", "anthropic-version: 2026-10-21")
    command = ["curl", "--silent", "--max-time", "60", "-D", str(head), "-o", str(out), *keys, *arguments]
    done = subprocess.run(command, input=body, capture_output=True, timeout=90, check=False)
    body = b"" if "-I" in arguments else out.read_bytes()  # for HEAD, curl writes the head there
    return done.returncode, head.read_bytes().decode(), body


def answered(head: str, body: bytes) -> Answered:
    """The last response, without informational ones."""
    status, *lines = head.strip().split("\r\n\r\n")[-1].split("\r\n")
    fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Answered(int(status.split()[1]), fields, body)


def without_framing(answer: tuple[list[tuple[str, str]], bytes]) -> tuple[list[tuple[str, str]], bytes]:
    """Without framing headers: uvicorn also sends chunks to HTTP/1.0 clients, and omits `connection: close`."""
    fields, body = answer
    return [(name, value) for name, value in fields if name not in {"transfer-encoding", "connection"}], body


@pytest.mark.parametrize(
    ("path", "arguments", "body", "status"),
    [
        pytest.param("/v1/messages", [*JSON, *BODY], ASK, 200, id="plain"),
        pytest.param("/v1/messages", [*JSON, *BODY, "-N"], STREAM, 200, id="stream"),
        pytest.param("/v1/messages", [*JSON, *BODY, "--compressed"], STREAM, 200, id="stream-compressed"),
        pytest.param("/v1/messages", [*JSON, *BODY, *CHUNKED], ASK, 200, id="chunked"),
        pytest.param("/v1/messages", [*JSON, *BODY, *CHUNKED], STREAM, 200, id="stream-chunked"),
        pytest.param("/v1/messages", [*JSON, *BODY, *EXPECT], ASK, 200, id="expect"),
        pytest.param("/v1/messages", [*JSON, *BODY, "-0"], ASK, 200, id="http-1.0"),
        pytest.param("/v1/messages", [*JSON, *BODY, "-0"], STREAM, 200, id="stream-http-1.0"),
        pytest.param("/v1/messages", [*JSON, *BODY, "-H", "connection: close"], STREAM, 200, id="stream-close"),
        pytest.param("/v1/messages/count_tokens", [*JSON, *BODY, *CHUNKED], COUNT, 200, id="count-chunked"),
        pytest.param("/v1/messages/count_tokens", [*JSON, *BODY, *EXPECT, *CHUNKED], COUNT, 200, id="count-expect"),
        pytest.param("/v1/files", ["-H", f"content-type: {FORM}", *BODY, *EXPECT], UPLOAD, 200, id="upload"),
        pytest.param("/v1/files", ["-H", f"content-type: {FORM}", *BODY, *CHUNKED], UPLOAD, 200, id="upload-chunked"),
        pytest.param("/v1/models", ["-0"], b"", 200, id="models-http-1.0"),
        pytest.param("/v1/models", ["-I"], b"", 405, id="head"),
        pytest.param("/v1/messages", ["-X", "OPTIONS"], b"", 405, id="options"),
        pytest.param("/v1/models/claude-haiku-5-5?a=b&a=%20", ["-G"], b"", 200, id="query"),
    ],
)
def test_curl_gets_the_same(
    pair: Twins, tmp_path: Path, path: str, arguments: Sequence[str], body: bytes, status: int
) -> None:
    (code, head, got), (expected_code, expected_head, expected) = (
        curl(tmp_path, *arguments, url + path, body=body) for url in pair.urls()
    )
    assert (expected_code, answered(expected_head, b"").status) == (0, status)
    assert code == expected_code
    assert head.split(" ")[0] == expected_head.split(" ")[0]
    assert head.count("HTTP/1.1 100 Continue") == expected_head.count("HTTP/1.1 100 Continue")
    assert ("HTTP/1.1 100 Continue" in head) >= ("expect: 100-continue" in arguments)
    through, direct = (
        comparable(path, answered(each_head, each), url)
        for each_head, each, url in ((head, got, pair.through), (expected_head, expected, pair.direct))
    )
    if pair.http == "uvicorn":
        through, direct = without_framing(through), without_framing(direct)
    assert through == direct
    assert ("x-simulated", "true") in direct[0]


@pytest.mark.parametrize("body", [ASK, STREAM], ids=["whole", "stream"])
def test_a_broken_response_breaks_in_the_same_way(pair: Twins, tmp_path: Path, body: bytes) -> None:
    cut = ("-H", "x-simulator-fault: cut")
    through, direct = (curl(tmp_path, *JSON, *BODY, *cut, f"{url}/v1/messages", body=body)[::2] for url in pair.urls())
    assert direct[0] == 18  # "partial file": the transfer ended before its end
    assert through == direct


def test_a_connection_is_used_again(pair: Twins, tmp_path: Path) -> None:
    # Also directly, because both simulators must produce the same ids for later tests.
    for url in pair.urls():
        make_calls_over_one_connection(url, tmp_path)


def make_calls_over_one_connection(url: str, tmp_path: Path) -> None:
    calls = [
        ["-d", ASK.decode(), *JSON, f"{url}/v1/messages"],
        [f"{url}/v1/models"],
        ["-d", STREAM.decode(), *JSON, f"{url}/v1/messages"],
        ["-I", f"{url}/v1/models"],
        ["-X", "DELETE", "-H", "x-simulator-fault: overloaded", f"{url}/v1/files/file_x"],
        [f"{url}/v1/novel"],
    ]
    keys = ["-H", f"x-api-key: {CALLER_KEY}", "-H", "anthropic-version: 2026-10-21"]
    common = [*keys, "-o", str(tmp_path / "body"), "-w", "%{http_code} %{num_connects}\n"]
    arguments = [argument for call in calls for argument in ("--next", "--silent", *common, *call)][1:]
    done = subprocess.run(["curl", *arguments], capture_output=True, timeout=60, check=True)
    answers = [tuple(line.split()) for line in done.stdout.decode().splitlines()]
    assert [status for status, _ in answers] == ["200", "200", "200", "405", "529", "404"]
    assert [connects for _, connects in answers] == ["1", *["0"] * 5]
