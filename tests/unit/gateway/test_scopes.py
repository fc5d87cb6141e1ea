"""The gateway's scopes, which become the spans of a call."""

import asyncio

import pytest

from support.asgi_client import call
from support.gateway import (
    CONTENT,
    MESSAGE,
    MESSAGE_DELTA,
    MESSAGE_START,
    FakeTransport,
    Reply,
    Rig,
    error,
    make_gateway,
    post,
    sse,
    unreachable,
)
from support.recording_observer import RecordedScope
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.core.ports.observer import ScopeKind
from tidegate.engine.admission import Admission
from tidegate.gateway.app import Gateway
from tidegate.identity.identify import Identifier
from tidegate.stores.memory import MemoryStore

OVERLOADED = error(529, "overloaded_error")
OF_MODEL = {"tidegate.pool": "sonnet-5-5", "tidegate.caller": "default", "gen_ai.request.model": "claude-sonnet-5-5"}


def only(rig: Rig, kind: ScopeKind) -> RecordedScope:
    assert not [scope for scope in rig.observer.scopes if scope.open]
    (scope,) = rig.observer.scopes_of(kind)
    return scope


@pytest.mark.parametrize("answers", [[Reply()], [sse(MESSAGE_START, CONTENT, MESSAGE_DELTA)], [OVERLOADED, Reply()]])
def test_a_call_that_is_not_sampled_has_its_own_scope_and_none_inside(answers: list[Reply]) -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport(answers), clock)
    rig.observer.samples = False
    answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE), clock)
    assert answer.status == 200
    (root,) = rig.observer.roots
    assert root.tree() == "request"
    assert "tidegate.outcome" not in root.attributes
    assert rig.outcomes()[-1] == "settled"


def test_a_call_is_a_request_around_a_chat_around_admission_and_attempt() -> None:
    _, rig, *_ = post([Reply()], headers={"traceparent": "00-aa-bb-01", "tracestate": "x=y"})
    (root,) = rig.observer.roots
    assert root.tree() == ("request", [("chat", ["acquire", "attempt"])])
    assert root.attributes == {
        "client.address": "127.0.0.1",
        "client.port": 50000,
        "network.protocol.version": "1.1",
        "server.address": "localhost",
        "server.port": 8080,
        "http.request.method": "POST",
        "http.route": "/v1/messages",
        "url.path": "/v1/messages",
        "url.scheme": "http",
        "tidegate.request_id": "tg_1",
        "traceparent": "00-aa-bb-01",
        "tracestate": "x=y",
        "tidegate.outcome": "ok",
        "tidegate.pool": "sonnet-5-5",
        "tidegate.caller": "default",
        "http.response.status_code": 200,
    }
    assert only(rig, ScopeKind.CHAT).attributes == {
        **OF_MODEL,
        "gen_ai.request.max_tokens": 100,
        "tidegate.attempts": 1,
        "gen_ai.usage.input_tokens": 7,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.usage.cache_read.input_tokens": 0,
        "gen_ai.usage.cache_write.input_tokens": 0,
    }
    assert only(rig, ScopeKind.ATTEMPT).attributes == {
        **OF_MODEL,
        "http.request.method": "POST",
        "url.path": "/v1/messages",
        "http.response.status_code": 200,
    }
    acquired = only(rig, ScopeKind.ACQUIRE).attributes
    assert (acquired["tidegate.wait_seconds"], acquired["tidegate.cost.requests"]) == (0.0, 1)
    assert "tidegate.binding" not in acquired


def test_a_repeated_attempt_waits_in_a_scope_of_its_own() -> None:
    _, rig, *_ = post([error(529, "overloaded_error"), unreachable(), sse(MESSAGE_START, CONTENT, MESSAGE_DELTA)])
    (root,) = rig.observer.roots
    once = ["acquire", "attempt"]
    assert root.tree() == ("request", [("chat", [*once, "retry_wait", *once, "retry_wait", *once])])
    attempts = rig.observer.scopes_of(ScopeKind.ATTEMPT)
    assert [attempt.attributes.get("http.request.resend_count") for attempt in attempts] == [None, 1, 2]
    assert [attempt.attributes.get("error.type") for attempt in attempts] == ["529", "connection", None]
    assert [attempt.error is None for attempt in attempts] == [False, False, True]
    waits = rig.observer.scopes_of(ScopeKind.RETRY_WAIT)
    assert [(wait.attributes["tidegate.reason"], wait.attributes["tidegate.wait_seconds"]) for wait in waits] == [
        ("overloaded", 1.0),
        ("connection", 2.0),
    ]
    chat = only(rig, ScopeKind.CHAT)
    assert (chat.attributes["tidegate.attempts"], chat.error) == (3, None)


def test_a_refusal_names_its_cause() -> None:
    pools = {"sonnet-5-5": PoolSettings({Dimension.INPUT_TOKENS: LimitSettings(10, 1)}, allow_debt=False)}
    answer, rig, *_ = post([Reply()], pools=pools)
    assert answer.status == 400
    assert only(rig, ScopeKind.REQUEST).attributes["tidegate.cause"] == "cost_exceeds_capacity"
    assert only(rig, ScopeKind.ACQUIRE).attributes["tidegate.cause"] == "cost_exceeds_capacity"
    assert only(rig, ScopeKind.CHAT).attributes["error.type"] == "cost_exceeds_capacity"


def test_a_wait_names_what_binds() -> None:
    _, rig, *_ = post([error(429, "rate_limit_error", retry_after="20"), Reply()])
    first, second = rig.observer.scopes_of(ScopeKind.ACQUIRE)
    assert "tidegate.binding" not in first.attributes
    assert (second.attributes["tidegate.binding"], second.attributes["tidegate.wait_seconds"]) == ("frozen", 20.0)


def test_an_endpoint_without_a_model_has_no_chat() -> None:
    _, rig, *_ = post([Reply()], path="/v1/files")
    (root,) = rig.observer.roots
    assert root.tree() == ("request", ["acquire", "attempt"])


@pytest.mark.parametrize("after", [0.0, 5.0])
def test_an_answer_that_breaks_ends_its_scopes(after: float) -> None:
    _, rig, *_ = post([sse(MESSAGE_START, CONTENT, after, unreachable(may_have_been_accepted=True))])
    assert only(rig, ScopeKind.ATTEMPT).attributes["error.type"] == "broken"
    assert only(rig, ScopeKind.REQUEST).attributes["tidegate.outcome"] == "upstream_error"


def test_trace_headers_of_the_attempt_replace_those_of_the_client() -> None:
    clock, transport = VirtualClock(), FakeTransport([Reply()])
    rig = make_gateway(transport, clock)
    rig.observer.trace_headers = {"traceparent": "00-ours-01"}
    given = {"traceparent": "00-theirs-01", "x-other": "kept"}
    run_virtual(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers=given), clock)
    fields = transport.requests[0][0].headers
    assert [value for name, value in fields if name == b"traceparent"] == [b"00-ours-01"]
    assert (b"x-other", b"kept") in fields


@pytest.mark.parametrize("passes", [False, True])
def test_the_clients_trace_context_goes_upstream_only_if_it_is_meant_to(*, passes: bool) -> None:
    clock, transport = VirtualClock(), FakeTransport([Reply()])
    gateway = Gateway(
        Admission(MemoryStore(clock), clock),
        transport,
        Identifier(),
        upstream_key="service-key",
        upstream_kind="claude",
        retry_policy=RetryPolicy,
        random=lambda: 0.5,
        hop_id="hop-a",
        passes_trace_context=passes,
    )
    given = {"traceparent": "00-theirs-01"}
    answer = run_virtual(call(gateway, "POST", "/v1/messages", body=MESSAGE, headers=given), clock)
    assert answer.status == 200
    assert ((b"traceparent", b"00-theirs-01") in transport.requests[0][0].headers) is passes


def test_a_call_that_is_not_traced_opens_no_scopes() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()]), clock)
    rig.observer.traces_calls = False
    headers = {"traceparent": "00-theirs-00"}
    answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers=headers), clock)
    assert answer.status == 200
    assert not rig.observer.scopes
    assert [fields[b"traceparent"] for fields in rig.observer.asked] == [b"00-theirs-00"]


def test_a_client_that_leaves_ends_every_scope() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()], head_after_seconds=60), clock)

    async def leave() -> None:
        task = asyncio.create_task(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtual(leave(), clock)
    assert only(rig, ScopeKind.ATTEMPT).attributes["error.type"] == "abandoned"
    assert only(rig, ScopeKind.REQUEST).attributes["tidegate.outcome"] == "abandoned"
