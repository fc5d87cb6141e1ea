"""The gateway's own responses, and what it changes in requests and responses."""

import asyncio
import gzip
from collections.abc import Sequence
from typing import Any

import pytest

from support.asgi_client import Answer, call
from support.gateway import MESSAGE, ONE_A_MINUTE, FakeTransport, Reply, Rig, make_gateway
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import RefusedCall, RequestFinished
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.usage import Usage
from tidegate.http.asgi import Message
from tidegate.identity.identify import Identifier, key_hash
from tidegate.settings import CallerSettings


def send(
    method: str, path: str, *, body: Any = None, headers: dict[str, str] | None = None, **options: Any
) -> tuple[Answer, FakeTransport, Rig]:
    clock = VirtualClock()
    transport = FakeTransport([Reply()])
    rig = make_gateway(transport, clock, **options)
    return run_virtual(call(rig.gateway, method, path, body=body, headers=headers), clock), transport, rig


def scope(method: str, path: str, headers: Sequence[tuple[bytes, bytes]] = ()) -> Message:
    return {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
    }


async def never() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def finished(rig: Rig) -> RequestFinished:
    (event,) = rig.observer.of(RequestFinished)
    assert isinstance(event, RequestFinished)
    return event


def test_body_target_and_headers_reach_the_upstream_as_they_are() -> None:
    raw = b'{ "model":"claude-haiku-5-5", "max_tokens": 5,"messages":[],  "from_the_future": 1.0 }'
    headers = {"anthropic-version": "2023-06-01", "authorization": "Bearer theirs", "x-new": "1"}
    _, transport, _ = send("POST", "/v1/messages?beta=true&x=%20", body=raw, headers=headers)
    ((request, body),) = transport.requests
    assert (request.method, request.target, body) == (b"POST", b"/v1/messages?beta=true&x=%20", raw)
    fields = dict(request.headers)
    assert fields[b"x-api-key"] == b"service-key"
    assert fields[b"x-tidegate-hop"] == b"hop-a"
    assert fields[b"anthropic-version"] == b"2023-06-01"
    assert fields[b"x-new"] == b"1"
    assert b"authorization" not in fields


def test_a_call_that_comes_back_round_is_refused() -> None:
    answer, transport, rig = send("POST", "/v1/messages", body=MESSAGE, headers={"x-tidegate-hop": "other, hop-a"})
    assert (answer.status, answer.headers["x-tidegate-cause"]) == (508, "loop")
    assert answer.headers["x-should-retry"] == "false"
    assert not transport.requests
    assert len(rig.observer.of(RefusedCall)) == 1
    assert (finished(rig).outcome, finished(rig).pool) == ("refused", "")


def test_a_loop_is_seen_in_any_of_several_fields() -> None:
    rig = make_gateway(FakeTransport([Reply()]), VirtualClock())
    starts: list[Message] = []

    async def send(message: Message) -> None:
        starts.append(message)

    hops = [(b"x-tidegate-hop", b"hop-a"), (b"x-tidegate-hop", b"other")]
    asyncio.run(rig.gateway(scope("GET", "/v1/models", hops), never, send))
    assert starts[0]["status"] == 508


def test_the_hops_of_others_are_kept() -> None:
    _, transport, _ = send("GET", "/v1/models", headers={"x-tidegate-hop": "other"})
    assert dict(transport.requests[0][0].headers)[b"x-tidegate-hop"] == b"other, hop-a"


def test_a_caller_needs_its_key_when_callers_are_configured() -> None:
    identifier = Identifier([CallerSettings(name="team", key_sha256=key_hash("their-key"))])
    answer, transport, rig = send("POST", "/v1/messages", body=MESSAGE, identifier=identifier)
    assert (answer.status, answer.headers["x-tidegate-cause"]) == (401, "unauthenticated")
    assert answer.json()["error"]["type"] == "authentication_error"
    assert not transport.requests
    assert finished(rig).outcome == "refused"
    answer, _, rig = send(
        "POST", "/v1/messages", body=MESSAGE, headers={"x-api-key": "their-key"}, identifier=identifier
    )
    assert (answer.status, finished(rig).caller.name) == (200, "team")


@pytest.mark.parametrize(
    "path",
    [
        "/v1//messages",
        "/v1/./messages",
        "/v1/x/../messages",
        "/v1/messages/",
        "/v1/messages/.",
        "/v1/messages/..",
        "/v1/../../admin/secret",
        "/v1/%2e%2e/%2E./admin",
        "/v1/messages%2fbatches",
        "/v1/files/%2F",
        "/v1/files/x%5Cy",
        "/v1/files/x\\y",
        "/v1/%76\x00",
        "/v1/",
    ],
)
def test_a_path_with_another_reading_is_refused_before_anything_is_priced(path: str) -> None:
    """An upstream or a proxy may normalize such a path to one of another pool."""
    answer, transport, rig = send("POST", path, body=MESSAGE)
    assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert "allowed is" in answer.json()["error"]["message"]
    assert answer.headers["x-should-retry"] == "false"
    assert (transport.requests, finished(rig).pool, finished(rig).outcome) == ([], "", "client_error")


@pytest.mark.parametrize(
    "path", ["/v1/files/a.b..c", "/v1/%66iles", "/v1/files/..x", "/v1/sessions/s_1/events?x=//../"]
)
def test_dots_and_escapes_without_another_reading_pass(path: str) -> None:
    answer, transport, _ = send("GET", path)
    assert (answer.status, transport.requests[0][0].target) == (200, path.encode())


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/v1/v1/messages", "must not end in /v1"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/claude-opus-4-8:rawPredict", "Vertex AI"),
        ("/v1/model/anthropic.claude-opus-4-8/invoke", "Amazon Bedrock"),
    ],
)
def test_a_path_that_the_api_does_not_have_is_refused_here(path: str, says: str) -> None:
    answer, transport, _ = send("POST", path, body=MESSAGE)
    assert (answer.status, answer.json()["error"]["type"]) == (404, "not_found_error")
    assert says in answer.json()["error"]["message"]
    assert not transport.requests


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_methods_that_echo_or_open_a_tunnel_are_refused(method: str) -> None:
    answer, transport, _ = send(method, "/v1/models")
    assert (answer.status, answer.json()["error"]["type"]) == (405, "invalid_request_error")
    assert method not in answer.headers["allow"]
    assert not transport.requests


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_compressed_request_is_refused_in_words(path: str) -> None:
    answer, transport, _ = send("POST", path, body=gzip.compress(b"{}"), headers={"content-encoding": "gzip"})
    assert (answer.status, answer.json()["error"]["type"]) == (415, "invalid_request_error")
    assert "content-encoding: got 'gzip', allowed is none" in answer.json()["error"]["message"]
    assert not transport.requests
    assert send("POST", path, body=MESSAGE, headers={"content-encoding": "identity"})[0].status == 200


def test_a_cloud_key_stays_here() -> None:
    _, transport, _ = send("POST", "/v1/messages", body=MESSAGE, headers={"api-key": "theirs"})
    assert b"api-key" not in dict(transport.requests[0][0].headers)


@pytest.mark.parametrize("body", [b"{", b"[1]", b"\xff"])
def test_a_messages_body_that_is_no_json_object_is_answered_here(body: bytes) -> None:
    answer, transport, rig = send("POST", "/v1/messages", body=body)
    assert (answer.status, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert answer.headers["request-id"] == answer.headers["x-tidegate-request-id"] == answer.json()["request_id"]
    assert not transport.requests
    assert finished(rig).outcome == "client_error"


def test_a_senseless_timeout_is_answered_with_its_name() -> None:
    answer, transport, _ = send("GET", "/v1/models", headers={"x-tidegate-timeout-seconds": "soon"})
    assert answer.status == 400
    assert "x-tidegate-timeout-seconds: got 'soon'" in answer.json()["error"]["message"]
    assert not transport.requests


def test_a_body_that_announces_too_much_is_refused_before_it_is_read() -> None:
    answer, transport, _ = send("POST", "/v1/messages", body=b"{}", headers={"content-length": "33554433"})
    assert (answer.status, answer.json()["error"]["type"]) == (413, "request_too_large")
    assert not transport.requests


def test_a_body_that_turns_out_too_long_is_refused() -> None:
    headers = {"transfer-encoding": "chunked", "content-length": "1"}
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        answer, transport, rig = send("POST", path, body=b" " * 33_554_433, headers=headers)
        assert (answer.status, answer.json()["error"]["type"]) == (413, "request_too_large")
        assert not transport.requests
        assert rig.in_flight() == 0


def test_a_call_that_is_still_waiting_at_its_deadline_is_refused_and_told_when_to_retry() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()]), clock, pools={"sonnet-5-5": ONE_A_MINUTE})

    async def main() -> Answer:
        await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE)
        headers = {"x-tidegate-timeout-seconds": "30"}
        return await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers=headers)

    answer = run_virtual(main(), clock)
    assert (answer.status, answer.headers["x-tidegate-cause"]) == (429, "deadline")
    assert (answer.headers["retry-after"], answer.headers["x-should-retry"]) == ("30", "true")
    assert len(rig.observer.of(RefusedCall)) == 1


def test_a_wait_without_a_grant_is_reported_too() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()]), clock, pools={"sonnet-5-5": ONE_A_MINUTE})

    async def main() -> Answer:
        await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE)
        headers = {"x-tidegate-timeout-seconds": "70"}
        waiting = asyncio.create_task(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers=headers))
        await asyncio.sleep(1)
        await rig.store.learn("sonnet-5-5", RateLimited(3_600_000_000_000))
        return await waiting

    answer = run_virtual(main(), clock)
    assert (answer.status, answer.headers["x-tidegate-cause"]) == (429, "deadline")
    assert answer.headers["x-tidegate-queue-ms"] == "70000"


def test_every_answer_of_a_simulator_says_that_it_is_simulated() -> None:
    answer, _, _ = send("GET", "/v1/models", upstream_kind="simulator")
    assert answer.headers["x-tidegate-upstream"] == "simulator"


def test_before_another_tidegate_every_answer_has_one_request_id() -> None:
    clock = VirtualClock()
    told = Reply(headers=((b"x-tidegate-request-id", b"theirs"), (b"x-tidegate-upstream", b"simulator")))
    rig = make_gateway(FakeTransport([told]), clock)
    starts: list[Message] = []

    async def main() -> None:
        async def send(message: Message) -> None:
            starts.append(message)

        await rig.gateway(scope("GET", "/v1/models"), never, send)

    run_virtual(main(), clock)
    fields = starts[0]["headers"]
    assert [value for name, value in fields if name == b"x-tidegate-request-id"] == [b"tg_1"]
    assert (b"x-tidegate-upstream", b"simulator") in fields


def test_each_endpoint_draws_on_its_own_pool() -> None:
    pools = {
        path: finished(send(method, path, body=body)[2]).pool
        for method, path, body in (
            ("POST", "/v1/messages/count_tokens", MESSAGE),
            ("GET", "/v1/models", None),
            ("GET", "/v1/messages/batches/b", None),
            ("POST", "/v1/files", b"x"),
            ("GET", "/v1/messages", None),
        )
    }
    assert pools == {
        "/v1/messages/count_tokens": "count_tokens",
        "/v1/models": "models",
        "/v1/messages/batches/b": "batches",
        "/v1/files": "files",
        "/v1/messages": "get_messages",
    }


def test_a_body_that_never_comes_is_not_waited_for_longer_than_the_call_may_take() -> None:
    clock = VirtualClock()
    transport = FakeTransport([Reply()])
    rig = make_gateway(transport, clock)
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    headers = [(b"content-length", b"5"), (b"x-tidegate-timeout-seconds", b"20")]
    run_virtual(rig.gateway(scope("POST", "/v1/messages", headers), never, send), clock)
    assert (sent[0]["status"], clock.elapsed_s) == (408, 20)
    assert not transport.requests


def test_the_report_has_what_a_log_line_tells() -> None:
    _, _, rig = send("POST", "/v1/messages", body=MESSAGE)
    told = finished(rig)
    assert (told.request_id, told.model, told.status, told.cause) == ("tg_1", "claude-sonnet-5-5", 200, None)
    assert (told.queue_wait_ns, told.attempts, told.usage) == (0, 1, Usage(7, 3))


def test_the_report_of_a_refusal_has_its_cause_and_status() -> None:
    _, _, rig = send("POST", "/v1/messages", body=MESSAGE, headers={"x-tidegate-hop": "hop-a"})
    assert (finished(rig).status, finished(rig).cause, finished(rig).usage) == (508, Cause.LOOP, None)
