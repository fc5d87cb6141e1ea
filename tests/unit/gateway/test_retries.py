"""The gateway on a virtual clock: what a client sees, and what is charged, when the upstream fails."""

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
    post,
    sse,
    unreachable,
)
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal, UpstreamUnreachable
from tidegate.core.domain.events import (
    AttemptFinished,
    RefusedCall,
    RequestFinished,
    RetryScheduled,
    SpendCapReached,
    UpstreamRateLimited,
)
from tidegate.core.domain.feedback import Feedback
from tidegate.core.domain.usage import Usage
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.gateway.relay_limits import RelayLimits

THROTTLED = error(429, "rate_limit_error", retry_after="20")


def test_a_good_answer_passes_and_its_usage_is_charged() -> None:
    answer, rig, transport, _ = post([Reply()])
    assert (answer.status, answer.body) == (200, ANSWER)
    assert answer.headers == {
        "content-type": "application/json",
        "x-tidegate-request-id": "tg_1",
        "x-tidegate-queue-ms": "0",
        "x-tidegate-attempts": "1",
    }
    (attempt,) = rig.observer.of(AttemptFinished)
    assert (attempt.pool, attempt.model, attempt.status) == ("sonnet-5-5", "claude-sonnet-5-5", "200")
    assert attempt.usage == Usage(7, 3)
    assert (rig.outcomes(), rig.call_outcome()) == (["settled"], "ok")
    assert transport.answers[0].closed  # type: ignore[union-attr]


def test_a_429_is_waited_out_unseen_and_costs_no_attempt_of_the_policy() -> None:
    answer, rig, _, seconds = post([THROTTLED, THROTTLED, Reply()], policy=RetryPolicy(max_attempts=1))
    assert (answer.status, seconds) == (200, 40)
    assert answer.headers["x-tidegate-attempts"] == "3"
    assert answer.headers["x-tidegate-queue-ms"] == "40000"
    assert rig.outcomes() == ["throttled", "throttled", "settled"]
    assert [event.retry_after_ns for event in rig.observer.of(UpstreamRateLimited)] == [20_000_000_000] * 2
    assert [event.reason for event in rig.observer.of(RetryScheduled)] == ["rate_limited"] * 2


def test_a_429_that_names_no_wait_makes_longer_and_longer_ones() -> None:
    _, rig, _, seconds = post([error(429, "rate_limit_error")] * 3 + [Reply()])
    assert [event.wait_ns / 1e9 for event in rig.observer.of(RetryScheduled)] == [1, 2, 4]
    assert seconds == 7


def test_a_429_never_makes_a_busy_loop() -> None:
    zero = RetryPolicy(base_delay_seconds=0, max_delay_seconds=0)
    *_, seconds = post([error(429, "rate_limit_error", retry_after="0")] * 10 + [Reply()], policy=zero)
    assert seconds == pytest.approx(1.0)


def test_a_429_that_outlasts_the_client_is_passed_on_as_it_came() -> None:
    answer, rig, _, seconds = post([THROTTLED], headers={"x-tidegate-timeout-seconds": "15"})
    assert (answer.status, answer.headers["retry-after"], answer.body) == (429, "20", THROTTLED.chunks[0])
    assert (seconds, rig.outcomes(), rig.call_outcome()) == (0, ["throttled"], "rate_limited")


@pytest.mark.parametrize(("status", "reason"), [(529, "overloaded"), (500, "server_error"), (503, "server_error")])
def test_other_failures_are_repeated_by_the_policy(status: int, reason: str) -> None:
    answer, rig, transport, seconds = post([error(status, "api_error")] * 2 + [Reply()])
    assert (answer.status, seconds, len(transport.requests)) == (200, 3, 3)
    assert rig.outcomes() == ["overloaded", "overloaded", "settled"]
    assert [event.reason for event in rig.observer.of(RetryScheduled)] == [reason] * 2


def test_when_attempts_run_out_the_last_answer_is_passed_on_unchanged() -> None:
    last = error(529, "overloaded_error", x_should_retry="true", request_id="r9")
    answer, rig, transport, _ = post([last], policy=RetryPolicy(max_attempts=3, base_delay_seconds=1))
    assert (answer.status, answer.body, len(transport.requests)) == (529, last.chunks[0], 3)
    assert (answer.headers["x-should-retry"], answer.headers["request-id"]) == ("true", "r9")
    assert [event.upstream_request_id for event in rig.observer.of(RequestFinished)] == ["r9"]
    assert "x-tidegate-cause" not in answer.headers
    assert rig.call_outcome() == "upstream_error"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, "client_error"),
        pytest.param(403, "upstream_error", id="403-is-about-our-own-key"),
        (404, "client_error"),
        (413, "client_error"),
    ],
)
def test_the_clients_own_faults_pass_at_once(status: int, outcome: str) -> None:
    told = error(status, "some_error")
    answer, rig, transport, _ = post([told])
    assert (answer.status, answer.body, len(transport.requests)) == (status, told.chunks[0], 1)
    assert (rig.outcomes(), rig.call_outcome()) == (["released"], outcome)
    assert [event.status for event in rig.observer.of(AttemptFinished)] == [str(status)]


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens", "/v1/sessions"])
def test_a_401_under_our_own_key_is_a_failure_of_the_service(path: str) -> None:
    told = error(401, "authentication_error", x_should_retry="true", request_id="req_9")
    answer, rig, transport, _ = post([told], path=path)
    assert (answer.status, len(transport.requests)) == (502, 1)
    assert answer.headers["x-tidegate-cause"] == "upstream_credentials"
    assert answer.headers["x-should-retry"] == "false"
    assert answer.json()["error"]["type"] == "api_error"
    assert "your" not in answer.json()["error"]["message"]
    assert "ANTHROPIC_API_KEY" in answer.json()["error"]["message"]
    assert "req_9" in answer.json()["error"]["message"]
    assert (rig.outcomes(), rig.call_outcome()) == (["released"], "refused")
    assert [event.status for event in rig.observer.of(AttemptFinished)] == ["401"]
    (refused,) = rig.observer.of(RefusedCall)
    assert (refused.cause, refused.pool) == (Cause.UPSTREAM_CREDENTIALS, rig.observer.of(AttemptFinished)[0].pool)


@pytest.mark.parametrize("code", ["enforced_spend_limit_reached", "contract_spend_limit_reached"])
def test_a_spend_cap_is_final_for_the_client_too(code: str) -> None:
    answer, rig, transport, _ = post([error(429, "rate_limit_error", code, x_should_retry="true")])
    assert (answer.status, answer.headers["x-should-retry"], len(transport.requests)) == (429, "false", 1)
    assert not rig.observer.of(UpstreamRateLimited)
    assert rig.observer.of(SpendCapReached) == [SpendCapReached("sonnet-5-5")]


def test_an_upstream_that_cannot_be_reached_is_said_to_be_so() -> None:
    answer, rig, transport, _ = post([unreachable()], policy=RetryPolicy(max_attempts=2, base_delay_seconds=1))
    assert (answer.status, len(transport.requests)) == (502, 2)
    assert answer.json()["error"] == {"type": "api_error", "message": "no response from the upstream: told"}
    assert rig.outcomes() == ["released", "released"]
    assert [attempt.status for attempt in rig.observer.of(AttemptFinished)] == ["error", "error"]


def test_the_error_at_the_deadline_names_the_failure_of_the_earlier_attempt() -> None:
    late = UpstreamUnreachable("no time was left", may_have_been_accepted=False, out_of_time=True)
    answer, *_ = post([unreachable(), late])
    assert (answer.status, answer.json()["error"]["message"]) == (502, "no response from the upstream: told")


def test_a_timer_that_fires_a_little_early_is_the_deadline_all_the_same() -> None:
    """Timers of uvloop are rounded to milliseconds."""
    late = UpstreamUnreachable("no response in time", may_have_been_accepted=True, out_of_time=True)
    answer, *_ = post([late])
    assert (answer.status, answer.json()["error"]["type"]) == (504, "timeout_error")


def test_a_request_that_may_have_been_accepted_is_repeated_once_and_charged_each_time() -> None:
    answer, rig, transport, _ = post([unreachable(may_have_been_accepted=True)])
    assert (answer.status, answer.headers["x-should-retry"], len(transport.requests)) == (502, "false", 2)
    assert rig.outcomes() == ["abandoned", "abandoned"]


def test_an_upstream_that_is_too_slow_for_the_client_is_left() -> None:
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([Reply()], head_after_seconds=60), clock)
    answer = run_virtual(
        call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers={"x-stainless-timeout": "10"}), clock
    )
    assert (answer.status, answer.json()["error"]["type"], clock.elapsed_s) == (504, "timeout_error", 9.5)
    assert (rig.outcomes(), rig.in_flight()) == (["abandoned"], 0)


class TestReadTimeout:
    """The timeout of an SDK: it waits so long for the next byte."""

    HEADERS = {"x-stainless-timeout": "NOT_GIVEN", "x-stainless-read-timeout": "10"}  # noqa: RUF012

    def test_it_counts_from_the_end_of_the_body(self) -> None:
        clock = VirtualClock()
        rig = make_gateway(FakeTransport([Reply()], head_after_seconds=60), clock)

        async def with_a_slow_body(scope: Any, receive: Any, send: Any) -> None:
            seconds = iter([20.0])

            async def receive_late() -> Any:
                await asyncio.sleep(next(seconds, 0.0))
                return await receive()

            await rig.gateway(scope, receive_late, send)

        answer = run_virtual(call(with_a_slow_body, "POST", "/v1/messages", body=MESSAGE, headers=self.HEADERS), clock)
        assert (answer.status, clock.elapsed_s) == (504, 29.5)

    def test_it_is_no_limit_of_an_upload(self) -> None:
        clock = VirtualClock()
        rig = make_gateway(FakeTransport([Reply()], head_after_seconds=60), clock)
        answer = run_virtual(call(rig.gateway, "POST", "/v1/files", body=b"file", headers=self.HEADERS), clock)
        assert answer.status == 200

    def test_it_is_no_limit_of_a_stream_whose_client_is_sent_comments(self) -> None:
        clock = VirtualClock()
        streams = FakeTransport([sse(MESSAGE_START, CONTENT, MESSAGE_DELTA)], head_after_seconds=60)
        rig = make_gateway(streams, clock, limits=RelayLimits(comment_seconds=5))
        body = {**MESSAGE, "stream": True}
        answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=body, headers=self.HEADERS), clock)
        assert answer.status == 200
        assert CONTENT in answer.body


def test_short_deadlines_of_callers_are_no_outage_but_long_ones_may_be() -> None:
    for seconds, is_outage in (("10", False), ("61", True)):
        clock = VirtualClock()
        rig = make_gateway(FakeTransport([Reply()], head_after_seconds=100), clock)

        async def main(rig: Rig = rig, seconds: str = seconds) -> None:
            for _ in range(6):
                headers = {"x-stainless-timeout": seconds}
                await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE, headers=headers)

        run_virtual(main(), clock)
        (pool,) = rig.store.snapshot_now("sonnet-5-5")
        assert ("upstream_outage" in pool.open_circuits) is is_outage


def test_another_policy_is_in_effect_from_the_next_failure_on() -> None:
    clock = VirtualClock()
    policies = iter([RetryPolicy(max_attempts=1), RetryPolicy(max_attempts=2, base_delay_seconds=7, jitter_factor=0)])
    transport = FakeTransport([error(500, "api_error")])
    rig = make_gateway(transport, clock, retry_policy=lambda: next(policies))

    async def main() -> None:
        for _ in range(2):
            await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE)

    run_virtual(main(), clock)
    assert (len(transport.requests), clock.elapsed_s) == (3, 7)


def test_a_stream_passes_with_its_usage_and_time_to_first_token() -> None:
    answer, rig, _, _ = post([sse(MESSAGE_START, 0.125, CONTENT, 5.0, MESSAGE_DELTA)])
    assert answer.body == MESSAGE_START + CONTENT + MESSAGE_DELTA
    (attempt,) = rig.observer.of(AttemptFinished)
    assert (attempt.usage, attempt.first_token_ns) == (Usage(7, 30), 125_000_000)


@pytest.mark.parametrize(
    "parts",
    [
        (OVERLOADED_EVENT,),
        (MESSAGE_START + OVERLOADED_EVENT,),
        (MESSAGE_START, OVERLOADED_EVENT),
        (MESSAGE_START, 0.2, OVERLOADED_EVENT),
    ],
)
def test_an_error_before_the_first_content_of_a_stream_is_repeated_unseen(parts: tuple[Any, ...]) -> None:
    answer, rig, _, _ = post([sse(*parts), sse(MESSAGE_START, CONTENT, MESSAGE_DELTA)])
    assert answer.body == MESSAGE_START + CONTENT + MESSAGE_DELTA
    assert (rig.outcomes(), answer.headers["x-tidegate-attempts"]) == (["overloaded", "settled"], "2")


def test_the_head_of_a_stream_is_held_no_longer_than_the_hold_time() -> None:
    late = sse(MESSAGE_START, 2.0, OVERLOADED_EVENT)
    answer, rig, transport, _ = post([late])
    assert (answer.status, answer.body) == (200, MESSAGE_START + OVERLOADED_EVENT)
    assert (len(transport.requests), rig.call_outcome(), rig.outcomes()) == (1, "upstream_error", ["settled"])
    answer, *_ = post([sse(MESSAGE_START, 2.0, OVERLOADED_EVENT), Reply()], limits=RelayLimits(hold_seconds=3.0))
    assert answer.body == ANSWER


def test_an_error_after_content_is_relayed_and_what_was_used_is_charged() -> None:
    answer, rig, transport, _ = post([sse(MESSAGE_START, CONTENT, OVERLOADED_EVENT)])
    assert answer.body == MESSAGE_START + CONTENT + OVERLOADED_EVENT
    assert (len(transport.requests), rig.call_outcome(), rig.outcomes()) == (1, "upstream_error", ["settled"])


def test_a_stream_error_that_outlasts_all_attempts_is_passed_on() -> None:
    once = RetryPolicy(max_attempts=1)
    answer, *_ = post([sse(MESSAGE_START, OVERLOADED_EVENT)], policy=once)
    assert (answer.status, answer.body) == (200, MESSAGE_START + OVERLOADED_EVENT)


def test_a_break_before_content_is_repeated_and_one_after_it_breaks_the_clients_answer() -> None:
    broken = unreachable(may_have_been_accepted=True)
    answer, *_ = post([sse(MESSAGE_START, broken), sse(MESSAGE_START, CONTENT)])
    assert answer.body == MESSAGE_START + CONTENT
    clock = VirtualClock()
    rig = make_gateway(FakeTransport([sse(MESSAGE_START, CONTENT, broken)]), clock)
    answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE), clock)
    assert (answer.body, answer.complete) == (MESSAGE_START + CONTENT, False)
    assert (rig.in_flight(), rig.call_outcome()) == (0, "upstream_error")


def test_a_stream_that_ends_or_breaks_after_the_hold_time_ends_as_it_came() -> None:
    answer, *_ = post([sse(MESSAGE_START, 1.0)])
    assert (answer.body, answer.complete) == (MESSAGE_START, True)
    answer, rig, *_ = post([sse(MESSAGE_START, 1.0, unreachable(may_have_been_accepted=True))])
    assert (answer.body, answer.complete, rig.call_outcome()) == (MESSAGE_START, False, "upstream_error")


def test_an_error_body_without_end_is_no_answer() -> None:
    answer, *_ = post([Reply(400, (), (b"x" * 600_000,) * 2)], policy=RetryPolicy(max_attempts=1))
    assert (answer.status, answer.json()["error"]["type"]) == (502, "api_error")


def test_an_answer_is_whole_although_what_it_teaches_cannot_be_kept() -> None:
    clock = VirtualClock()
    told = Reply(headers=((b"anthropic-ratelimit-requests-limit", b"50"),))
    rig = make_gateway(FakeTransport([told]), clock)

    async def learn(_pool: str, _feedback: Feedback) -> None:
        raise Refusal(Cause.STORE_UNAVAILABLE, "the store is away")

    rig.store.learn = learn  # type: ignore[method-assign, assignment]
    answer = run_virtual(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE), clock)
    assert (answer.status, answer.body, answer.complete) == (200, ANSWER, True)
    assert (told.closed, rig.outcomes(), rig.in_flight()) == (True, ["settled"], 0)


def test_an_empty_stream_and_a_page_of_html_pass() -> None:
    answer, *_ = post([sse()])
    assert (answer.status, answer.body, answer.complete) == (200, b"", True)
    html = Reply(200, ((b"content-type", b"text/html"),), (b"<html>",))
    answer, rig, *_ = post([html])
    assert (answer.body, rig.outcomes()) == (b"<html>", ["settled"])


def test_a_streamed_request_is_never_repeated_and_its_429_passes() -> None:
    answer, rig, transport, _ = post([THROTTLED], path="/v1/files", body=b"file")
    assert (answer.status, answer.headers["retry-after"]) == (429, "20")
    assert [body for _, body in transport.requests] == [b"file"]
    assert len(rig.observer.of(UpstreamRateLimited)) == 1
    assert not rig.observer.of(RetryScheduled)
    assert rig.call_outcome() == "rate_limited"


def test_the_429_of_a_stream_before_its_content_is_no_failure_of_the_upstream_either() -> None:
    limited = OVERLOADED_EVENT.replace(b"overloaded_error", b"rate_limit_error")
    _, rig, *_ = post([sse(limited)], headers={"x-tidegate-timeout-seconds": "0.5"})
    assert rig.call_outcome() == "rate_limited"


def ask(
    method: str, path: str, answers: list[Reply | Exception], body: Any = None
) -> tuple[Answer, FakeTransport, float]:
    clock = VirtualClock()
    transport = FakeTransport(answers)
    answer = run_virtual(call(make_gateway(transport, clock).gateway, method, path, body=body), clock)
    return answer, transport, clock.elapsed_s


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models", None),
        ("GET", "/v1/files/f/content", None),
        ("HEAD", "/v1/novel", None),
        ("POST", "/v1/messages/count_tokens", MESSAGE),
    ],
)
def test_what_changes_nothing_is_repeated_too(method: str, path: str, body: Any) -> None:
    answer, transport, elapsed_s = ask(method, path, [THROTTLED, Reply()], body)
    assert (answer.status, answer.headers["x-tidegate-attempts"], elapsed_s) == (200, "2", 20)
    assert transport.requests[0] == transport.requests[1]
    answer, *_ = ask(method, path, [unreachable(), Reply()], body)
    assert (answer.status, answer.headers["x-tidegate-attempts"]) == (200, "2")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/v1/files/f", None),
        ("POST", "/v1/messages/batches/b/cancel", None),
        ("POST", "/v1/messages/batches", {}),
        ("PUT", "/v1/novel", {}),
    ],
)
def test_a_request_that_may_change_something_is_sent_once(method: str, path: str, body: Any) -> None:
    answer, transport, elapsed_s = ask(method, path, [THROTTLED, Reply()], body)
    assert (answer.status, len(transport.requests), elapsed_s) == (429, 1, 0)


def test_every_answer_teaches_the_pool_its_limits() -> None:
    limit = ((b"anthropic-ratelimit-requests-limit", b"50"), (b"anthropic-ratelimit-requests-remaining", b"9"))
    _, rig, *_ = post([Reply(headers=limit)])
    (pool,) = rig.store.snapshot_now("sonnet-5-5")
    assert (pool.dimensions[0].upstream_per_minute, pool.succeeded) == (50, 1)
