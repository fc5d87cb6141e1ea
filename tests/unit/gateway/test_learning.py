"""The feedback that the gateway gives a pool: limits, prices and outages."""

import asyncio

import pytest

from support.asgi_client import Answer, call
from support.gateway import (
    CONTENT,
    MESSAGE,
    MESSAGE_DELTA,
    MESSAGE_START,
    ONE_A_MINUTE,
    FakeTransport,
    Reply,
    Rig,
    error,
    make_gateway,
    post,
    record_feedback,
    sse,
    unreachable,
)
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.events import Admitted, LeaseEnded
from tidegate.core.domain.feedback import Failed, Feedback, RateLimited, Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.failures.retry_policy import RetryPolicy

LIMIT = ((b"anthropic-ratelimit-requests-limit", b"50"),)
OVERLOADED = error(529, "overloaded_error")
SECOND_NS = 1_000_000_000


def taught(*answers: Reply | Exception) -> list[Feedback]:
    """The feedback that a pool gets from one call whose attempts take 2 s each."""
    clock = VirtualClock()
    rig = make_gateway(FakeTransport(answers, head_after_seconds=2.0), clock)
    heard = record_feedback(rig.store)
    run_virtual(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE), clock)
    return heard


class TestWhatIsTold:
    def test_the_limits_of_an_answer_with_the_age_of_its_request(self) -> None:
        report = LimitReport(DimensionReport(50), sent_ago_ns=2 * SECOND_NS)
        assert taught(Reply(headers=LIMIT)) == [report, Succeeded()]

    def test_a_response_without_limits_is_reported_too(self) -> None:
        report = LimitReport(sent_ago_ns=2 * SECOND_NS, faults=(AnomalyKind.LIMITS_MISSING,))
        assert taught(Reply()) == [report, Succeeded()]

    def test_an_error_is_no_answer_but_its_limits_count(self) -> None:
        throttled = error(429, "rate_limit_error", retry_after="20", anthropic_ratelimit_requests_limit="50")
        report = LimitReport(DimensionReport(50), sent_ago_ns=2 * SECOND_NS, answered=False)
        assert taught(throttled, Reply())[:2] == [
            RateLimited(20 * SECOND_NS, 2 * SECOND_NS, pause_ns=20 * SECOND_NS),
            report,
        ]

    def test_a_429_for_a_rise_that_was_too_fast_says_so(self) -> None:
        ramp = error(429, "rate_limit_error", "ramp_limit_exceeded", retry_after="20")
        assert taught(ramp, Reply())[0] == RateLimited(
            20 * SECOND_NS, 2 * SECOND_NS, acceleration=True, pause_ns=20 * SECOND_NS
        )

    @pytest.mark.parametrize("failure", [OVERLOADED, unreachable(), unreachable(may_have_been_accepted=True)])
    def test_a_failure(self, failure: Reply | Exception) -> None:
        assert taught(failure, Reply())[0] == Failed(2 * SECOND_NS)

    def test_not_what_is_the_clients_own_fault(self) -> None:
        assert taught(error(400, "invalid_request_error")) == []


def test_the_next_call_reserves_the_usage_of_the_last_response() -> None:
    clock = VirtualClock()
    usage = b'{"type": "message", "usage": {"input_tokens": 70, "output_tokens": 30}}'
    rig = make_gateway(FakeTransport([Reply(chunks=(usage,))]), clock)

    async def often() -> None:
        for _ in range(300):
            await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE)

    run_virtual(often(), clock)
    first, *_, last = rig.observer.of(LeaseEnded)
    assert first.reserved.output_tokens == MESSAGE["max_tokens"]
    assert last.used == Cost(1, 70, 30)
    assert last.reserved == last.used._replace(output_tokens=last.reserved.output_tokens)
    assert 30 <= last.reserved.output_tokens <= 31


def test_a_stream_is_charged_what_it_has_produced_so_far() -> None:
    clock = VirtualClock()
    start = b'event: message_start\ndata: {"message": {"usage": {"input_tokens": 7, "output_tokens": 1}}}\n\n'
    part = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
    part += b'"text":"' + b"four" * 250 + b'"}}\n\n'
    chunks: list[bytes | float] = [start]
    for _ in range(8):
        chunks += [part, 1.0]
    rig = make_gateway(
        FakeTransport([sse(*chunks, MESSAGE_DELTA)]),
        clock,
        pools={"sonnet-5-5": PoolSettings({Dimension.OUTPUT_TOKENS: LimitSettings(1, 10_000)})},
    )

    async def left_each_second() -> list[float | None]:
        answer = asyncio.create_task(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE))
        left = []
        for _ in range(8):
            await asyncio.sleep(1.01)
            (pool,) = rig.store.snapshot_now()
            left.append(pool.dimensions[2].available)
        await answer
        return left

    left = run_virtual(left_each_second(), clock)
    assert left[0] == pytest.approx(10_000 - 2 * 250, abs=1)
    assert left[4] == pytest.approx(10_000 - 6 * 250, abs=250)
    assert (left[2] or 0) > (left[4] or 0) > (left[6] or 0)


def test_the_input_is_charged_as_it_is_from_the_head_of_an_answer_on() -> None:
    clock = VirtualClock()
    start = b'event: message_start\ndata: {"message": {"usage": {"input_tokens": 700, "output_tokens": 1}}}\n\n'
    rig = make_gateway(
        FakeTransport([sse(start, CONTENT, 5.0, MESSAGE_DELTA)]),
        clock,
        pools={"sonnet-5-5": PoolSettings({Dimension.INPUT_TOKENS: LimitSettings(1, 1_000)})},
    )

    async def available_meanwhile() -> float | None:
        answer = asyncio.create_task(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE))
        await asyncio.sleep(1)
        (pool,) = rig.store.snapshot_now()
        await answer
        return pool.dimensions[1].available

    assert run_virtual(available_meanwhile(), clock) == pytest.approx(300, abs=1)


def test_units_that_a_429_gives_back_admit_no_call() -> None:
    clock = VirtualClock()
    throttled = error(429, "rate_limit_error", retry_after="20")
    rig = make_gateway(
        FakeTransport([throttled, Reply()], head_after_seconds=1.0),
        clock,
        pools={"sonnet-5-5": ONE_A_MINUTE},
    )

    async def both() -> None:
        calls = [call(rig.gateway, "POST", "/v1/messages", body=MESSAGE) for _ in range(2)]
        await asyncio.gather(*calls)

    run_virtual(both(), clock)
    first, second, *_ = rig.observer.of(Admitted)
    assert first.waited_ns == 0
    assert second.waited_ns >= 20 * SECOND_NS


class TestOutage:
    def test_once_the_pool_pauses_a_call_waits_for_the_end_of_the_outage(self) -> None:
        answer, _, transport, seconds = post([OVERLOADED] * 100 + [Reply()])
        assert (answer.status, len(transport.requests)) == (200, 101)
        assert 95 < seconds < 120

    def test_until_then_the_policy_says_how_often_and_after_how_long(self) -> None:
        patient = RetryPolicy(max_attempts=4, base_delay_seconds=1.0, jitter_factor=0.0)
        answer, _, transport, seconds = post([OVERLOADED], policy=patient)
        assert (answer.status, len(transport.requests), seconds) == (529, 4, 1 + 2 + 4)

    def test_an_outage_that_outlasts_the_client_ends_with_the_upstreams_answer(self) -> None:
        answer, rig, _, seconds = post([OVERLOADED], headers={"x-tidegate-timeout-seconds": "60"})
        assert (answer.status, answer.body) == (529, OVERLOADED.chunks[0])
        assert seconds == pytest.approx(60, abs=1)
        assert rig.in_flight() == 0

    def test_a_request_that_may_have_been_accepted_is_not_repeated_for_it(self) -> None:
        lost = unreachable(may_have_been_accepted=True)
        answer, _, transport, _ = post([*[OVERLOADED] * 6, lost, Reply()])
        assert (answer.status, len(transport.requests)) == (502, 7)

    def test_it_holds_the_others_back_too(self) -> None:
        clock = VirtualClock()
        transport = FakeTransport([OVERLOADED] * 40 + [Reply()])
        rig = make_gateway(transport, clock)

        async def ten_calls() -> list[Answer]:
            calls = (call(rig.gateway, "POST", "/v1/messages", body=MESSAGE) for _ in range(10))
            return await asyncio.gather(*calls)

        answers = run_virtual(ten_calls(), clock)
        assert {answer.status for answer in answers} == {200}
        assert len(transport.requests) == 50
        assert not _probing(rig)


def _probing(rig: Rig) -> list[str]:
    return [pool.pool for pool in rig.store.snapshot_now() if pool.probing]


class TestLease:
    def test_an_answer_names_the_lease_that_it_answers(self) -> None:
        clock = VirtualClock()
        rig = make_gateway(FakeTransport([sse(MESSAGE_START, CONTENT, 5.0, MESSAGE_DELTA)]), clock)

        async def main() -> int:
            task = asyncio.create_task(call(rig.gateway, "POST", "/v1/messages", body=MESSAGE))
            await asyncio.sleep(2)
            (pool,) = rig.store.snapshot_now("sonnet-5-5")
            assert pool.in_flight == 1
            await task
            return pool.unanswered

        assert run_virtual(main(), clock) == 0
