"""Under load, not every response updates the limits."""

from support.asgi_client import call
from support.gateway import (
    CONTENT,
    MESSAGE,
    MESSAGE_START,
    FakeTransport,
    Reply,
    make_gateway,
    record_feedback,
    unreachable,
)
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.feedback import Feedback, Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.gateway.attempt.limit_updates import LimitUpdates

MS_NS = 1_000_000
LIMIT = Reply(headers=((b"anthropic-ratelimit-requests-limit", b"600000"),))


def test_a_pool_is_updated_every_20_ms_independently_of_others() -> None:
    updates = LimitUpdates()
    assert updates.are_due("a", 0)
    updates.note("a", 7 * MS_NS)
    assert not updates.are_due("a", 27 * MS_NS - 1)
    assert updates.are_due("a", 27 * MS_NS)
    assert updates.are_due("b", 7 * MS_NS)


def test_invented_pools_do_not_fill_the_memory() -> None:
    updates = LimitUpdates()
    for number in range(2_500):
        updates.note(f"pool-{number}", 0)
    assert len(updates._updated_ns) <= 1_000


def learned_limits(answers: list[Reply], *, apart_seconds: float) -> list[Feedback]:
    """The feedback that a pool gets from calls one after another."""
    clock = VirtualClock()
    rig = make_gateway(FakeTransport(answers), clock)
    heard = record_feedback(rig.store)

    async def calls() -> None:
        for _ in answers:
            await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE)
            clock.advance(apart_seconds)

    run_virtual(calls(), clock)
    return heard


def test_of_concurrent_responses_one_updates_the_limits() -> None:
    read, counted = [LimitReport(DimensionReport(600_000)), Succeeded()], [Succeeded(sent_ago_ns=0)]
    assert learned_limits([LIMIT] * 3, apart_seconds=0.002) == read + counted + counted
    assert learned_limits([LIMIT] * 3, apart_seconds=0.02) == read * 3


def test_the_head_of_a_stream_updates_the_limits_while_it_comes() -> None:
    stream = Reply(200, (*LIMIT.headers, (b"content-type", b"text/event-stream")), (MESSAGE_START, CONTENT, 1.0, b""))
    read = LimitReport(DimensionReport(600_000))
    assert learned_limits([stream] * 2, apart_seconds=0.001) == [read, Succeeded()] * 2
    at_once = Reply(200, stream.headers, (MESSAGE_START, CONTENT, b""))
    assert learned_limits([at_once] * 2, apart_seconds=0.001) == [read, Succeeded(), LimitReport(), Succeeded()]


def test_a_broken_response_updates_the_limits_and_is_no_success() -> None:
    broken = Reply(200, LIMIT.headers, (b"{", unreachable()))
    assert learned_limits([broken] * 2, apart_seconds=0.001) == [LimitReport(DimensionReport(600_000)), LimitReport()]


def test_responses_are_read_until_one_reports_limits() -> None:
    assert learned_limits([Reply(), LIMIT, LIMIT], apart_seconds=0.001)[2] == LimitReport(DimensionReport(600_000))
