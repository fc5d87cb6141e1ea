"""Comments to clients that wait for a stream. From the first comment on, the status is 200."""

import asyncio
from typing import Any

import pytest

from support.asgi_client import Answer, call
from support.gateway import (
    ANSWER,
    CONTENT,
    MESSAGE,
    MESSAGE_DELTA,
    MESSAGE_START,
    OVERLOADED_EVENT,
    FakeTransport,
    Reply,
    Rig,
    error,
    make_gateway,
    sse,
    unreachable,
)
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.demand import Demand, Refused
from tidegate.core.domain.events import RequestFinished
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.gateway.relay_limits import RelayLimits

COMMENTS = RelayLimits(comment_seconds=15)
COMMENT = b": waiting\n\n"
STREAM = sse(MESSAGE_START, CONTENT, MESSAGE_DELTA)
STREAMED = MESSAGE_START + CONTENT + MESSAGE_DELTA
ASKING = {**MESSAGE, "stream": True}
ONCE = RetryPolicy(max_attempts=1)


def ask(
    *answers: Reply | Exception, head_after_seconds: float = 0.0, body: Any = ASKING, **options: Any
) -> tuple[Answer, Rig, FakeTransport]:
    clock = VirtualClock()
    transport = FakeTransport(answers, head_after_seconds=head_after_seconds)
    rig = make_gateway(transport, clock, **{"limits": COMMENTS, **options})
    headers = {"accept-encoding": "gzip"}
    return run_virtual(call(rig.gateway, "POST", "/v1/messages", body=body, headers=headers), clock), rig, transport


def test_a_stream_that_waits_is_sent_a_comment_each_time_and_then_passes_as_it_is() -> None:
    answer, rig, transport = ask(error(429, "rate_limit_error", retry_after="40"), STREAM)
    assert (answer.status, answer.body, answer.complete) == (200, COMMENT * 2 + STREAMED, True)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-tidegate-request-id"] == "tg_1"
    assert rig.outcomes() == ["throttled", "settled"]
    assert dict(transport.requests[0][0].headers)[b"accept-encoding"] == b"identity"


def test_one_that_need_not_wait_is_sent_none() -> None:
    answer, *_ = ask(STREAM, head_after_seconds=14)
    assert (answer.body, answer.headers["content-type"]) == (STREAMED, "text/event-stream; charset=utf-8")


@pytest.mark.parametrize(("body", "limits"), [(MESSAGE, COMMENTS), (ASKING, RelayLimits())])
def test_nothing_is_sent_to_who_asks_for_no_stream_and_while_it_is_off(body: Any, limits: RelayLimits) -> None:
    answer, _, transport = ask(Reply(), head_after_seconds=40, body=body, limits=limits)
    assert (answer.body, answer.headers["content-type"]) == (ANSWER, "application/json")
    assert dict(transport.requests[0][0].headers)[b"accept-encoding"] == b"gzip"


@pytest.mark.parametrize(
    ("failure", "error_type", "message"),
    [
        (error(529, "overloaded_error"), "overloaded_error", "told"),
        (Reply(502, (), (b"<html>",)), "api_error", "the upstream answered with status 502"),
        (unreachable(), "api_error", "no response from the upstream: told"),
        (Reply(200, ((b"content-type", b"text/html"),), (b"<html>",)), "api_error", "event stream"),
    ],
)
def test_after_a_comment_a_failure_is_an_error_event(failure: Reply | Exception, error_type: str, message: str) -> None:
    answer, rig, _ = ask(failure, head_after_seconds=20, policy=ONCE)
    assert (answer.status, answer.body.startswith(COMMENT), answer.complete) == (200, True, True)
    ((name, event),) = answer.events()
    assert (name, event["type"], event["error"]["type"]) == ("error", "error", error_type)
    assert message in event["error"]["message"]
    assert rig.observer.of(RequestFinished)[0].outcome == "upstream_error"


def test_so_is_a_429_that_outlasts_the_client() -> None:
    clock = VirtualClock()
    told = error(429, "rate_limit_error", retry_after="100")
    rig = make_gateway(FakeTransport([told], head_after_seconds=20), clock, limits=COMMENTS)
    headers = {"x-tidegate-timeout-seconds": "35"}
    answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=ASKING, headers=headers), clock)
    assert (answer.status, answer.events()[0][1]["error"]["type"]) == (200, "rate_limit_error")
    assert (clock.elapsed_s, rig.outcomes()) == (20, ["throttled"])


def test_so_is_a_refusal_of_our_own() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([STREAM]), clock, limits=COMMENTS)

    async def reserve(_lease: str, _demand: Demand) -> Refused:
        await asyncio.sleep(20)
        return Refused(Cause.DRAINING)

    rig.store.reserve = reserve  # type: ignore[method-assign, assignment]
    answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=ASKING), clock)
    ((name, event),) = answer.events()
    assert (answer.status, name, event["error"]["type"]) == (200, "error", "api_error")
    assert rig.observer.of(RequestFinished)[0].outcome == "refused"


def test_an_error_event_of_the_upstream_passes_as_it_came() -> None:
    answer, *_ = ask(sse(MESSAGE_START, OVERLOADED_EVENT), head_after_seconds=20, policy=ONCE)
    assert answer.body == COMMENT + MESSAGE_START + OVERLOADED_EVENT


def test_a_client_that_leaves_while_it_waits_ends_the_wait() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([STREAM], head_after_seconds=100), clock, limits=COMMENTS)
    answer = Answer()

    async def main() -> None:
        leaves = asyncio.Event()
        asyncio.get_running_loop().call_later(40, leaves.set)
        await call(rig.gateway, "POST", "/v1/messages", body=ASKING, leaves=leaves, answer=answer)

    run_virtual(main(), clock)
    assert (clock.elapsed_s, answer.body, rig.outcomes()) == (40, COMMENT * 2, ["abandoned"])
