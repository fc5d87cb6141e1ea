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
from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.events import RequestFinished
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.gateway.relay_limits import RelayLimits

COMMENTS = RelayLimits(comment_seconds=15)
WAITING = b": waiting: place 1 of 1, about %d s left\n\n"
COMMENT = b": waiting for the upstream\n\n"
STREAM = sse(MESSAGE_START, CONTENT, MESSAGE_DELTA)
STREAMED = MESSAGE_START + CONTENT + MESSAGE_DELTA
ASKING = {**MESSAGE, "stream": True}
ONCE = RetryPolicy(max_attempts=1)
SLOW = {"sonnet-5-5": PoolSettings({Dimension.REQUESTS: LimitSettings(per_minute=0.075, capacity=1)}, None)}
"""One request in 800 seconds."""


def ask(
    *answers: Reply | Exception,
    head_after_seconds: float = 0.0,
    body: Any = ASKING,
    coding: str = "identity",
    **options: Any,
) -> tuple[Answer, Rig, FakeTransport]:
    clock = VirtualClock()
    transport = FakeTransport(answers, head_after_seconds=head_after_seconds)
    rig = make_gateway(transport, clock, **{"limits": COMMENTS, **options})
    headers = {"accept-encoding": coding}
    return run_virtual(call(rig.gateway, "POST", "/v1/messages", body=body, headers=headers), clock), rig, transport


def test_a_stream_that_waits_is_sent_a_comment_each_time_and_then_passes_as_it_is() -> None:
    answer, rig, transport = ask(error(429, "rate_limit_error", retry_after="40"), STREAM, coding="gzip")
    assert (answer.status, answer.body, answer.complete) == (200, WAITING % 25 + WAITING % 10 + STREAMED, True)
    assert answer.headers["x-tidegate-predicted-wait-seconds"] == "25"
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-tidegate-request-id"] == "tg_1"
    assert rig.outcomes() == ["throttled", "settled"]
    codings = [dict(request.headers)[b"accept-encoding"] for request, *_ in transport.requests]
    assert codings == [b"gzip", b"identity"]


def test_a_stream_that_may_come_compressed_is_not_begun_by_a_comment() -> None:
    answer, *_ = ask(STREAM, head_after_seconds=40, coding="gzip")
    assert (answer.status, answer.body) == (200, STREAMED)


def test_comments_tell_the_place_and_the_seconds_left_and_come_every_15_seconds_after_the_first() -> None:
    clock = VirtualClock()
    limits = {Dimension.REQUESTS: LimitSettings(per_minute=1.5, capacity=1)}
    pools = {"sonnet-5-5": PoolSettings(limits, None)}
    rig = make_gateway(FakeTransport([STREAM] * 3), clock, pools=pools, limits=RelayLimits(comment_seconds=45))

    async def main() -> list[Answer]:
        return await asyncio.gather(*(call(rig.gateway, "POST", "/v1/messages", body=ASKING) for _ in range(3)))

    at_once, first, second = run_virtual(main(), clock)
    assert [answer.body.removesuffix(STREAMED) for answer in (at_once, first)] == [b"", b""]
    lines = second.body.removesuffix(STREAMED)
    assert lines == b"".join(b": waiting: place 1 of 1, about %d s left\n\n" % left for left in (35, 20, 5)), (
        "80 s in all: the first comment after 45"
    )
    assert second.headers["x-tidegate-predicted-wait-seconds"] == "35"
    assert "x-tidegate-predicted-wait-seconds" not in first.headers


@pytest.mark.parametrize(
    ("headers", "is_answered"),
    [
        ({"x-stainless-timeout": "600"}, True),
        ({"x-stainless-timeout": "NOT_GIVEN", "x-stainless-read-timeout": "600"}, True),
        ({"x-stainless-timeout": "590"}, False),
        ({"x-tidegate-timeout-seconds": "600"}, False),
        ({}, False),
    ],
)
def test_the_default_timeout_of_an_sdk_is_no_limit_of_a_stream_that_is_kept_alive(
    headers: dict[str, str],
    is_answered: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([STREAM] * 2), clock, pools=SLOW, limits=RelayLimits(comment_seconds=45))

    async def main() -> Answer:
        first = asyncio.create_task(call(rig.gateway, "POST", "/v1/messages", body=ASKING))
        await asyncio.sleep(1)
        answer = await call(rig.gateway, "POST", "/v1/messages", body=ASKING, headers=headers)
        await first
        return answer

    answer = run_virtual(main(), clock)
    assert answer.body.endswith(STREAMED) is is_answered


def test_a_stream_that_sdks_would_wait_for_no_longer_than_for_its_first_comment_has_their_deadline() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([STREAM] * 2), clock, pools=SLOW, limits=RelayLimits(comment_seconds=45))

    async def main() -> Answer:
        await call(rig.gateway, "POST", "/v1/messages", body=ASKING)
        headers = {"x-stainless-read-timeout": "40"}
        return await call(rig.gateway, "POST", "/v1/messages", body=ASKING, headers=headers)

    assert run_virtual(main(), clock).status == 429


def test_an_attempt_at_a_stream_does_not_take_all_the_time_that_it_may_wait_for_quota() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([STREAM], head_after_seconds=1_000), clock, limits=COMMENTS, policy=ONCE)
    headers = {"x-stainless-timeout": "600"}
    answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=ASKING, headers=headers), clock)
    assert (clock.elapsed_s, answer.events()[0][1]["error"]["type"]) == (600, "timeout_error")


def test_a_call_that_does_not_wait_gets_no_comments() -> None:
    answer, *_ = ask(STREAM, head_after_seconds=14)
    assert (answer.body, answer.headers["content-type"]) == (STREAMED, "text/event-stream; charset=utf-8")


@pytest.mark.parametrize(("body", "limits"), [(MESSAGE, COMMENTS), (ASKING, RelayLimits())])
def test_nothing_is_sent_to_who_asks_for_no_stream_and_while_it_is_off(body: Any, limits: RelayLimits) -> None:
    answer, _, transport = ask(Reply(), head_after_seconds=40, body=body, limits=limits, coding="gzip")
    assert (answer.body, answer.headers["content-type"]) == (ANSWER, "application/json")
    assert dict(transport.requests[0][0].headers)[b"accept-encoding"] == b"gzip"


@pytest.mark.parametrize(
    ("failure", "error_type", "message"),
    [
        (error(529, "overloaded_error"), "overloaded_error", "told"),
        (Reply(502, (), (b"<html>",)), "overloaded_error", "the upstream answered with status 502"),
        (error(400, "invalid_request_error"), "invalid_request_error", "told"),
        (unreachable(), "overloaded_error", "no response from the upstream: told"),
        (Reply(200, ((b"content-type", b"text/html"),), (b"<html>",)), "overloaded_error", "event stream"),
    ],
)
def test_after_a_comment_a_failure_is_an_error_event(failure: Reply | Exception, error_type: str, message: str) -> None:
    answer, rig, _ = ask(failure, head_after_seconds=20, policy=ONCE)
    assert (answer.status, answer.body.startswith(COMMENT), answer.complete) == (200, True, True)
    ((name, event),) = answer.events()
    assert (name, event["type"], event["error"]["type"]) == ("error", "error", error_type)
    assert message in event["error"]["message"]
    outcome = "client_error" if error_type == "invalid_request_error" else "upstream_error"
    assert rig.observer.of(RequestFinished)[0].outcome == outcome


def test_after_a_comment_a_429_that_outlasts_the_client_is_an_error_event() -> None:
    clock = VirtualClock()
    told = error(429, "rate_limit_error", retry_after="100")
    rig = make_gateway(FakeTransport([told], head_after_seconds=20), clock, limits=COMMENTS)
    headers = {"x-tidegate-timeout-seconds": "35"}
    answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=ASKING, headers=headers), clock)
    assert (answer.status, answer.events()[0][1]["error"]["type"]) == (200, "overloaded_error")
    assert (clock.elapsed_s, rig.outcomes()) == (20, ["throttled"])


def test_after_a_comment_a_refusal_by_tidegate_is_an_error_event() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([STREAM]), clock, limits=COMMENTS)

    async def reserve(_lease: str, _demand: Demand) -> Refused:
        await asyncio.sleep(20)
        return Refused(Cause.DRAINING)

    rig.store.reserve = reserve  # type: ignore[method-assign, assignment]
    answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=ASKING), clock)
    ((name, event),) = answer.events()
    assert (answer.status, name, event["error"]["type"]) == (200, "error", "overloaded_error")
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
