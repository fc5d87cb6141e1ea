import asyncio
import logging

import httpx2
import pytest

from claude_simulator import Fault, FaultKind
from support.claude_questions import SlowStream, ask, in_flight, question
from support.demands import demands_of
from support.recording_observer import RecordingObserver
from support.simulated_claude import SimulatedClaude, raising_transport
from support.virtual_time import run_virtual
from tidegate.core.domain.caller import Caller, CallerLimits
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import Refusal, RetriesExhausted, UpstreamError, UpstreamUnreachable
from tidegate.core.domain.events import (
    AttemptFinished,
    RetryScheduled,
    SpendCapReached,
    UpstreamRateLimited,
)
from tidegate.core.ports.observer import ScopeKind
from tidegate.core.pricing.price_list import PriceList
from tidegate.generation.request import AttemptStarted, Progress, Tally, TextReceived, WaitPredicted
from tidegate.rate_limiter import RateLimitConfig


def test_answer_with_usage_and_progress() -> None:
    seen: list[Progress] = []
    claude = SimulatedClaude(observer=(recorder := RecordingObserver()))
    answer = ask(claude, seen=seen)
    assert answer.text.startswith('{"workflow"')
    assert (answer.stop_reason, answer.model, answer.attempts) == ("end_turn", "claude-sonnet-5-5", 1)
    assert answer.usage.cache_creation_tokens > 512
    assert answer.usage.output_tokens > 50
    assert seen[0] == AttemptStarted(1, "claude-sonnet-5-5")
    assert isinstance(seen[1], TextReceived)
    assert answer.text.startswith(seen[1].text)
    assert in_flight(claude) == [0, 0]
    assert claude.model.counts == {"attempts": 1, "answers": 1, "retries": 0, "failures": 0}
    (finished,) = recorder.of(AttemptFinished)
    assert (finished.pool, finished.status, finished.usage) == ("sonnet-5-5", "200", answer.usage)
    assert finished.cost_pico_usd == PriceList.bundled().cost_pico_usd("claude-sonnet-5-5", answer.usage, 2**40)


def test_both_pools_are_asked_on_behalf_of_the_session() -> None:
    claude = SimulatedClaude()
    demands = demands_of(claude.store)
    limits = CallerLimits(requests_per_minute=60)
    caller = Caller("ann", limits=limits)
    ask(claude, caller=caller, session="workflow-1", session_front=True)
    assert [(demand.pool, demand.session, demand.session_front) for demand in demands] == [
        ("default", "workflow-1", True),
        ("sonnet-5-5", "workflow-1", True),
    ]
    own_limits = [demand.caller.limits for demand in demands]
    assert own_limits == [None, limits], "one request counts once"


def test_system_prompt_is_read_from_the_cache_the_second_time() -> None:
    claude = SimulatedClaude()
    first, second = ask(claude), ask(claude)
    assert second.usage.cache_read_tokens == first.usage.cache_creation_tokens


def test_limits_are_learned_from_the_first_answer() -> None:
    claude = SimulatedClaude()
    ask(claude)
    (pool,) = claude.store.snapshot_now("sonnet-5-5")
    assert [dimension.upstream_per_minute for dimension in pool.dimensions] == [1_000, 2_000_000, 400_000]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FaultKind.OVERLOADED, "overloaded"),
        (FaultKind.INTERNAL_ERROR, "server_error"),
        (FaultKind.BAD_GATEWAY, "server_error"),
        (FaultKind.GATEWAY_TIMEOUT, "timeout"),
        (FaultKind.RATE_LIMITED_BARE, "rate_limited"),
        (FaultKind.STREAM_ERROR, "overloaded"),
        (FaultKind.CUT, "timeout"),
    ],
)
def test_failures_are_repeated_after_the_documented_backoff(kind: FaultKind, reason: str) -> None:
    claude = SimulatedClaude(Fault(kind=kind, count=1), observer=(recorder := RecordingObserver()))
    answer = ask(claude)
    assert answer.attempts == 2
    assert claude.clock.elapsed_s == 2.0
    (retry,) = recorder.of(RetryScheduled)
    assert (retry.reason, retry.attempt, retry.wait_ns) == (reason, 1, 2 * 10**9)
    assert in_flight(claude) == [0, 0]


def test_five_attempts_with_doubled_waits_then_a_typed_error() -> None:
    claude = SimulatedClaude(Fault(kind=FaultKind.OVERLOADED))
    with pytest.raises(RetriesExhausted, match=r"gave up after 5 attempts in 30\.0 s") as caught:
        ask(claude)
    assert caught.value.last.status == 529
    assert claude.clock.elapsed_s == 2 + 4 + 8 + 16
    assert claude.model.counts["failures"] == 1


def test_a_429_waits_as_long_as_the_server_asks_and_slows_both_pools() -> None:
    recorder = RecordingObserver()
    claude = SimulatedClaude(Fault(kind=FaultKind.RATE_LIMITED, count=1, retry_after_seconds=40), observer=recorder)
    assert ask(claude).attempts == 2
    assert claude.clock.elapsed_s == 40
    limited = claude.limiter.get_stats()
    assert limited["current_state"]["rate_limited_requests"] == 1
    assert limited["current_state"]["requests_per_minute"] == pytest.approx(20 * (0.9 + 0.01))
    (event,) = recorder.of(UpstreamRateLimited)
    assert (event.pool, event.retry_after_ns) == ("sonnet-5-5", 40 * 10**9)


@pytest.mark.parametrize("kind", [FaultKind.SPEND_CAP, FaultKind.SPEND_LIMIT])
def test_a_spend_cap_is_final_and_no_rate_limit(kind: FaultKind) -> None:
    claude = SimulatedClaude(Fault(kind=kind), observer=(recorder := RecordingObserver()))
    with pytest.raises(UpstreamError):
        ask(claude)
    assert claude.model.counts["attempts"] == 1
    assert recorder.of(SpendCapReached) == [SpendCapReached("sonnet-5-5")]
    assert claude.limiter.get_stats()["current_state"]["rate_limited_requests"] == 0


def test_other_4xx_are_final() -> None:
    claude = SimulatedClaude()
    with pytest.raises(UpstreamError, match="404") as caught:
        ask(claude, model="claude-unheard-of-9")
    assert caught.value.status == 404
    assert b"not_found_error" in caught.value.body
    assert claude.model.counts["attempts"] == 1
    assert in_flight(claude) == [0, 0]


def test_refused_connections_are_repeated_and_cost_nothing() -> None:
    claude = SimulatedClaude(transport=raising_transport(httpx2.ConnectError("refused")))
    tally = Tally()
    with pytest.raises(RetriesExhausted, match=r"gave up after 5 attempts in .*ConnectError") as caught:
        ask(claude, tally=tally)
    assert (caught.value.attempts, caught.value.out_of_time, tally.attempts) == (5, False, 5)
    assert isinstance(caught.value.last, UpstreamUnreachable)
    assert not caught.value.last.may_have_been_accepted


def test_a_request_that_may_have_been_accepted_is_repeated_once() -> None:
    claude = SimulatedClaude(transport=raising_transport(httpx2.ReadTimeout("silence")))
    with pytest.raises(RetriesExhausted) as caught:
        ask(claude)
    assert caught.value.attempts == 2


def test_no_time_to_wait_for_quota_is_refused() -> None:
    claude = SimulatedClaude(config=RateLimitConfig(requests_per_minute=1, burst_limit=1))
    ask(claude)
    with pytest.raises(Refusal) as caught:
        ask(claude, seconds=10)
    assert caught.value.cause is Cause.DEADLINE


def test_a_wait_for_quota_is_reported_with_its_prediction_and_counted() -> None:
    seen: list[Progress] = []
    claude = SimulatedClaude(config=RateLimitConfig(requests_per_minute=60, burst_limit=1))
    ask(claude)
    tally = Tally()
    answer = ask(claude, seen=seen, tally=tally)
    assert seen[0] == WaitPredicted("default", 1.0)
    assert tally == Tally(1, 1.0, answer.usage)


def test_leaving_gives_the_lease_back_and_ends_the_call() -> None:
    claude = SimulatedClaude(Fault(kind=FaultKind.SLOW_START, delay_seconds=100))

    async def leave() -> None:
        task = asyncio.create_task(claude.model.ask(question(claude), lambda _progress: None, Tally()))
        await asyncio.sleep(1)
        assert in_flight(claude) == [0, 1]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(leave(), claude.clock)
    assert in_flight(claude) == [0, 0]


def test_debug_log_shows_attempts_and_retries_with_reasons(caplog: pytest.LogCaptureFixture) -> None:
    claude = SimulatedClaude(Fault(kind=FaultKind.OVERLOADED, count=1))
    with caplog.at_level(logging.DEBUG, "services.dsl_generator.ai_client"):
        ask(claude)
    messages = [record.getMessage() for record in caplog.records if record.name == "services.dsl_generator.ai_client"]
    assert messages[:2] == [
        "attempt 1: asking claude-sonnet-5-5",
        "attempt 1 failed (overloaded: 529 overloaded_error: Overloaded); again in 2.0 s",
    ]
    assert messages[2] == "attempt 2: asking claude-sonnet-5-5"
    assert messages[3].startswith("attempt 2: answered, Usage(")


def test_a_question_is_a_chat_around_admission_and_attempts() -> None:
    claude = SimulatedClaude(Fault(kind=FaultKind.OVERLOADED, count=1), observer=(recorder := RecordingObserver()))
    answer = ask(claude)
    (root,) = recorder.roots
    once = ["acquire", "acquire", "attempt"]  # `default` first, then the model's own pool
    assert root.tree() == ("chat", [*once, "retry_wait", *once])
    assert root.attributes["tidegate.attempts"] == 2
    assert root.attributes["gen_ai.usage.output_tokens"] == answer.usage.output_tokens
    failed, answered = recorder.scopes_of(ScopeKind.ATTEMPT)
    assert (failed.attributes["http.response.status_code"], failed.attributes["error.type"]) == (529, "529")
    assert (answered.attributes["http.response.status_code"], answered.attributes["http.request.resend_count"]) == (
        200,
        1,
    )


def test_trace_headers_of_an_attempt_are_sent() -> None:
    seen: list[httpx2.Request] = []
    headers = {"content-type": "text/event-stream"}

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, headers=headers, stream=SlowStream())

    recorder = RecordingObserver()
    recorder.trace_headers = {"traceparent": "00-ours-01"}
    ask(SimulatedClaude(transport=httpx2.MockTransport(answer), observer=recorder))
    assert seen[0].headers["traceparent"] == "00-ours-01"


def test_a_chat_that_failed_says_why() -> None:
    claude = SimulatedClaude(Fault(kind=FaultKind.SPEND_LIMIT), observer=(recorder := RecordingObserver()))
    with pytest.raises(UpstreamError):
        ask(claude)
    (root,) = recorder.roots
    assert (root.attributes["error.type"], root.error is None) == ("400", False)


def test_after_a_spend_cap_nothing_more_is_asked() -> None:
    claude = SimulatedClaude(Fault(kind=FaultKind.SPEND_CAP), observer=(recorder := RecordingObserver()))
    with pytest.raises(UpstreamError, match="monthly cap"):
        ask(claude)
    with pytest.raises(Refusal) as caught:
        ask(claude)
    assert caught.value.cause is Cause.SPEND_CAP
    assert claude.model.counts["attempts"] == 1
    assert recorder.of(SpendCapReached) == [SpendCapReached("sonnet-5-5")]


def test_failures_teach_the_pool() -> None:
    claude = SimulatedClaude(Fault(kind=FaultKind.OVERLOADED, count=5))
    with pytest.raises(RetriesExhausted):
        ask(claude)
    (pool,) = claude.store.snapshot_now("sonnet-5-5")
    assert pool.probing
