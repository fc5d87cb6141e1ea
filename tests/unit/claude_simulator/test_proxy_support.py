"""Features for tests of proxies: reproducible responses, compression, unknown content, recorded requests."""

import hashlib
import json
import re
import zlib
from typing import Any

import pytest

from claude_simulator import NO_LATENCY, SimulatorOptions, create_app
from claude_simulator.options import FixedClock
from support.virtual_time import VirtualClock, run_virtual
from unit.claude_simulator.conftest import MakeClient, SimulatorAnswer, SimulatorClient


def test_equal_calls_get_equal_responses_with_a_fixed_clock() -> None:
    async def answers() -> list[tuple[Any, ...]]:
        client = SimulatorClient(SimulatorOptions(latency=NO_LATENCY), VirtualClock())
        client._app = create_app(SimulatorOptions(latency=NO_LATENCY), clock=FixedClock(1_795_600_000))
        found = [await client.ask(), await client.ask(stream=True), await client.send("GET", "/v1/nothing")]
        return [(answer.status, answer.headers, answer.body) for answer in found]

    first, second = (run_virtual(answers(), VirtualClock()) for _ in "12")
    assert first == second
    assert first[0][1]["date"] == "Wed, 25 Nov 2026 09:46:40 GMT"
    assert first[0][1]["anthropic-ratelimit-requests-remaining"] == "999"
    assert first[1][1]["anthropic-ratelimit-requests-remaining"] == "998"


@pytest.mark.parametrize("stream", [False, True])
def test_compressed_answers_are_the_same(make_client: MakeClient, clock: VirtualClock, *, stream: bool) -> None:
    async def steps() -> None:
        plain = await make_client().ask(stream=stream, messages=[{"role": "user", "content": "x" * 400}])
        client = make_client(compression=True)
        gzip = {"accept-encoding": "br, gzip;q=0.9"}
        packed = await client.ask(stream=stream, messages=[{"role": "user", "content": "x" * 400}], headers=gzip)
        assert packed.headers["content-encoding"] == "gzip"
        assert zlib.decompress(packed.body, wbits=31) == plain.body
        if stream:
            unpacker = zlib.decompressobj(wbits=31)
            whole_events = [unpacker.decompress(part).endswith(b"\n\n") for _, part in client.sent[:-1]]
            assert len(whole_events) > 3
            assert all(whole_events)
        small = await client.send("GET", "/v1/nothing", headers=gzip)
        assert "content-encoding" not in small.headers
        declined = await client.ask(stream=stream, headers={"accept-encoding": "br"})
        assert "content-encoding" not in declined.headers

    run_virtual(steps(), clock)


def test_unknown_content(make_client: MakeClient, clock: VirtualClock) -> None:
    async def steps() -> None:
        client = make_client()
        novel = {"x-simulator-fault": "unknown_content"}
        message = (await client.ask(headers=novel)).json()
        assert message["content"][-1]["type"] == "novel_block"
        assert message["usage"]["novel_field"] == message["novel_field"]
        stream = await client.ask(stream=True, headers=novel)
        assert stream.event_names().count("novel_event") == 3
        assert "🌊".encode() in stream.body

    run_virtual(steps(), clock)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a": "\\ud800"}', "no low surrogate in string"),
        (b'{"a": "\n"}', "unexpected control character in string"),
        (b'{"a": NaN}', "expected a JSON value"),
        (b'{"a": 1e999}', "number is infinity"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"", "empty document"),
    ],
)
def test_invalid_json_gets_the_error_of_the_api(
    make_client: MakeClient, clock: VirtualClock, body: bytes, words: str
) -> None:
    answer = run_virtual(make_client().send("POST", "/v1/messages", body), clock)
    assert answer.status == 400
    message = answer.json()["error"]["message"]
    assert message.startswith("The request body is not valid JSON: ")
    assert words in message
    assert re.search(r": line 1 column \d+ \(char \d+\)$", message)


def test_requests_are_shown_as_received(make_client: MakeClient, clock: VirtualClock) -> None:
    async def steps() -> None:
        client = make_client()
        body = b'{"model": "claude-haiku-5-5"}'
        await client.send(
            "POST", "/v1/messages/count_tokens?beta=true", body, headers={"authorization": "Bearer s3cret"}
        )
        shown = (await client.send("GET", "/simulator/requests")).json()["requests"]
        assert len(shown) == 1
        assert (shown[0]["method"], shown[0]["body_bytes"]) == ("POST", len(body))
        assert shown[0]["target"] == "/v1/messages/count_tokens?beta=true"
        assert shown[0]["body_sha256"] == hashlib.sha256(body).hexdigest()
        assert ["authorization", "…"] in shown[0]["headers"]
        assert "s3cret" not in json.dumps(shown)

    run_virtual(steps(), clock)


@pytest.mark.parametrize(
    ("kind", "status", "error_type"),
    [
        ("rate_limited", 429, "rate_limit_error"),
        ("unauthenticated", 401, "authentication_error"),
        ("forbidden", 403, "permission_error"),
        ("too_large", 413, "request_too_large"),
        ("no_such_kind", 400, "invalid_request_error"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/models", "/v1/messages/count_tokens", "/v1/files"])
def test_an_error_can_be_forced_on_every_route(
    make_client: MakeClient, clock: VirtualClock, path: str, kind: str, status: int, error_type: str
) -> None:
    async def ask() -> SimulatorAnswer:
        method = "GET" if path == "/v1/models" else "POST"
        return await make_client().send(method, path, b"{}", headers={"x-simulator-fault": kind})

    assert run_virtual(ask(), clock).error()[:2] == (status, error_type)


def test_a_fault_without_an_error_does_not_affect_other_routes(make_client: MakeClient, clock: VirtualClock) -> None:
    async def steps() -> None:
        client = make_client()
        assert (await client.send("GET", "/v1/models", headers={"x-simulator-fault": "cut"})).status == 200
        gateway = await client.send("GET", "/v1/models", headers={"x-simulator-fault": "bad_gateway"})
        assert (gateway.status, gateway.headers["content-type"]) == (502, "text/html")

    run_virtual(steps(), clock)
