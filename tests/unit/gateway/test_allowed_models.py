"""A caller that may use only some models: what it may send, and how other requests are refused."""

import json
from typing import Any

import pytest

from support.asgi_client import Answer, call
from support.gateway import MESSAGE, FakeTransport, Reply, make_gateway
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import RefusedCall
from tidegate.identity.identify import Identifier, key_hash
from tidegate.settings import CallerSettings

HAIKU, SONNET, OPUS = "claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"
MESSAGES, COUNT, BATCHES = "/v1/messages", "/v1/messages/count_tokens", "/v1/messages/batches"
CALLERS = (
    CallerSettings(name="interns", key_sha256=key_hash("k"), models=(HAIKU, SONNET)),
    CallerSettings(name="staff", key_sha256=key_hash("s")),
)


def send(
    path: str, body: Any, *, key: str = "k", method: str = "POST", content_type: str = "application/json"
) -> tuple[Answer, FakeTransport, list[RefusedCall]]:
    clock, transport = VirtualClock(), FakeTransport([Reply()])
    rig = make_gateway(transport, clock, identifier=Identifier(CALLERS))
    headers = {"x-api-key": key, "content-type": content_type}
    answer = run_virtual(call(rig.gateway, method, path, body=body, headers=headers), clock)
    assert rig.in_flight() == 0
    return answer, transport, rig.observer.of(RefusedCall)


def batch(*models: Any) -> dict[str, Any]:
    return {"requests": [{"custom_id": "1", "params": {**MESSAGE, "model": model}} for model in models]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (MESSAGES, {**MESSAGE, "model": OPUS}),
        (COUNT, {**MESSAGE, "model": OPUS}),
        (BATCHES, batch(HAIKU, OPUS)),
        (BATCHES, {**batch(), "model": OPUS}),
        ("/v1/complete", {"model": OPUS, "requests": []}),
        ("/v1/agents", {"model": {"id": OPUS, "speed": "fast"}}),
    ],
)
def test_another_model_is_refused_with_the_list(path: str, body: Any) -> None:
    answer, transport, refused = send(path, body)
    assert answer.status == 403
    fault = answer.json()["error"]
    assert fault["type"] == "permission_error"
    assert fault["message"] == f"model: got '{OPUS}', allowed for caller 'interns' is {HAIKU}, {SONNET}"
    assert answer.headers["x-tidegate-cause"] == "forbidden"
    assert answer.headers["x-should-retry"] == "false"
    assert not transport.requests
    assert [event.cause for event in refused] == [Cause.FORBIDDEN]
    assert send(path, body, key="s")[0].status == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (MESSAGES, {"max_tokens": 5, "messages": []}),
        (MESSAGES, {**MESSAGE, "model": [OPUS]}),
        (COUNT, {"messages": []}),
        (COUNT, b"\x1f\x8b compressed"),
        (BATCHES, batch(HAIKU, None)),
        (BATCHES, batch({"name": OPUS})),
        (BATCHES, {"requests": [{"custom_id": "1"}]}),
        (BATCHES, {"requests": {"custom_id": "1"}}),
        (BATCHES, b'{"requests": [' + b"[" * 100_000),
        ("/v1/complete", b"no JSON"),
    ],
)
def test_a_model_that_cannot_be_read_is_refused(path: str, body: Any) -> None:
    answer, transport, _ = send(path, body)
    assert answer.status == 403
    assert "model: the request has no readable model, allowed for caller 'interns'" in answer.json()["error"]["message"]
    assert not transport.requests


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (MESSAGES, {**MESSAGE, "model": HAIKU}),
        (MESSAGES, {**MESSAGE, "model": f"{SONNET}-20261001"}),
        (MESSAGES, {**MESSAGE, "model": f"{SONNET}-latest"}),
        (COUNT, {**MESSAGE, "model": HAIKU}),
        (BATCHES, batch(HAIKU, f"{SONNET}-20261001")),
        (f"{BATCHES}/msgbatch_1/cancel", {}),
        ("/v1/skills", {"display_title": "x"}),
    ],
)
def test_requests_with_allowed_models_or_none_pass_unchanged(path: str, body: Any) -> None:
    answer, transport, refused = send(path, body)
    assert answer.status == 200
    assert not refused
    ((request, sent),) = transport.requests
    assert (request.target, sent) == (path.encode(), json.dumps(body).encode())


@pytest.mark.parametrize(
    ("path", "content_type"),
    [("/v1/files", "multipart/form-data; boundary=x"), ("/v1/skills", "Multipart/form-data; boundary=x")],
)
def test_uploads_are_streamed_through(path: str, content_type: str) -> None:
    answer, transport, _ = send(path, b"--x", content_type=content_type)
    assert answer.status == 200
    assert transport.requests[0][1] == b"--x"


def test_looking_up_is_free() -> None:
    assert send("/v1/models", None, method="GET")[0].status == 200


def test_a_dated_id_in_the_list_does_not_include_its_alias() -> None:
    clock, transport = VirtualClock(), FakeTransport([Reply()])
    caller = CallerSettings(name="old", key_sha256=key_hash("k"), models=(f"{HAIKU}-20261001",))
    rig = make_gateway(transport, clock, identifier=Identifier([caller]))
    answers = [
        run_virtual(
            call(rig.gateway, "POST", MESSAGES, body={**MESSAGE, "model": model}, headers={"x-api-key": "k"}), clock
        )
        for model in (f"{HAIKU}-20261001", HAIKU)
    ]
    assert [answer.status for answer in answers] == [200, 403]


def test_a_batch_of_such_a_caller_is_read_whole_up_to_32_mb() -> None:
    answer, transport, _ = send(BATCHES, b" " * (32 * 1024 * 1024 + 1))
    assert answer.status == 413
    assert not transport.requests
