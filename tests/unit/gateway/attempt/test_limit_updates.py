"""Under load not every answer's headers are read."""

from support.asgi_client import call
from support.gateway import (
    CONTENT,
    MESSAGE,
    MESSAGE_START,
    FakeTransport,
    Told,
    make_gateway,
    unreachable,
    what_it_hears,
)
from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.feedback import Feedback, Succeeded
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.gateway.attempt.limit_updates import LimitUpdates

MS_NS = 1_000_000
LIMIT = Told(headers=((b"anthropic-ratelimit-requests-limit", b"600000"),))


def test_a_pool_learns_again_after_20_ms_and_others_on_their_own() -> None:
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


def learned_limits(answers: list[Told], *, apart_seconds: float) -> list[Feedback]:
    """What a pool hears of calls one after another."""
    clock = VirtualClock()
    rig = make_gateway(FakeTransport(answers), clock)
    heard = what_it_hears(rig.store)

    async def calls() -> None:
        for _ in answers:
            await call(rig.gateway, "POST", "/v1/messages", body=MESSAGE)
            clock.advance(apart_seconds)

    run_virtual(calls(), clock)
    return heard


def test_of_answers_at_once_one_is_read_and_the_others_only_count_as_answers() -> None:
    read, counted = [LimitReport(DimensionReport(600_000)), Succeeded()], [Succeeded(sent_ago_ns=0)]
    assert learned_limits([LIMIT] * 3, apart_seconds=0.002) == read + counted + counted
    assert learned_limits([LIMIT] * 3, apart_seconds=0.02) == read * 3


def test_of_a_stream_the_head_is_told_while_it_comes() -> None:
    stream = Told(200, (*LIMIT.headers, (b"content-type", b"text/event-stream")), (MESSAGE_START, CONTENT, 1.0, b""))
    read = LimitReport(DimensionReport(600_000))
    assert learned_limits([stream] * 2, apart_seconds=0.001) == [read, Succeeded()] * 2
    at_once = Told(200, stream.headers, (MESSAGE_START, CONTENT, b""))
    assert learned_limits([at_once] * 2, apart_seconds=0.001) == [read, Succeeded(), LimitReport(), Succeeded()]


def test_what_broke_off_is_an_answer_and_no_success() -> None:
    broken = Told(200, LIMIT.headers, (b"{", unreachable()))
    assert learned_limits([broken] * 2, apart_seconds=0.001) == [LimitReport(DimensionReport(600_000)), LimitReport()]


def test_while_answers_show_no_limits_each_one_counts() -> None:
    assert learned_limits([Told(), LIMIT, LIMIT], apart_seconds=0.001)[2] == LimitReport(DimensionReport(600_000))
