"""What failures of the upstream mean for a pool: an outage, fewer at a time, a spend cap."""

import pytest

from tidegate.core.domain.cause import Cause
from tidegate.core.domain.events import CircuitClosed, CircuitOpened, Event
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.failures.failure_state import FailureState


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
def health(events: list[Event]) -> FailureState:
    return FailureState("p", events, 0)


def fail(health: FailureState, count: int, now_ns: int) -> None:
    """So many requests, sent and failed one after another."""
    for _ in range(count):
        health.sent(now_ns)
        health.failed(now_ns, now_ns)
        health.ended(now_ns, answered=False)


def test_a_few_failures_bind_by_concurrency_and_more_in_a_row_are_an_outage(health: FailureState) -> None:
    fail(health, 4, S)
    assert (health.is_out, health.binding()) == (False, "concurrency")
    fail(health, 1, S)
    assert (health.is_out, health.binding()) == (True, "outage")


def test_beyond_what_may_go_at_a_time_nobody_goes_however_often_one_asks(health: FailureState) -> None:
    assert health.wait_ns(0) == 0
    fail(health, 1, S)
    for _ in range(health.concurrency_limit(S) or 0):
        assert health.wait_ns(S) == 0
        health.sent(S)
    assert [health.admits(S) for _ in range(3)] == [False] * 3
    assert health.wait_ns(S) > 0


def test_after_an_outage_as_many_may_go_at_a_time_as_before_it(health: FailureState) -> None:
    for _ in range(64):
        health.sent(0)
    for _ in range(64):
        health.failed(S, S)
    for _ in range(64):
        health.ended(0, answered=False)
    for second in range(2, 60):
        fail(health, 1, second * S)
    health.sent(60 * S)
    health.answered(60 * S, 60 * S)
    assert not health.is_out
    assert health.concurrency_limit(60 * S) == 57, "nine tenths of 64"


def test_probes_that_are_not_refused_are_followed_by_more_but_few_beside_what_hangs(health: FailureState) -> None:
    fail(health, 5, S)
    now_ns, waves = 10 * S, []
    for _ in range(6):
        wave = 0
        while health.admits(now_ns):
            health.sent(now_ns)
            wave += 1
        waves.append(wave)
        now_ns += 2 * S
    assert waves == [1, 2, 1, 1, 1, 1], "up to four at a time, and then one by one"


@pytest.mark.parametrize("ends_in_ns", [None, 3_600 * S])
def test_an_operator_ends_a_spend_cap_once(health: FailureState, events: list[Event], ends_in_ns: int | None) -> None:
    health.capped(ends_in_ns, 0)
    assert health.refusal(10 * S) is not None
    health.forget_cap(10 * S)
    health.forget_cap(10 * S)
    assert health.refusal(10 * S) is None
    assert events == [CircuitOpened("p", Cause.SPEND_CAP, ends_in_ns), CircuitClosed("p", Cause.SPEND_CAP)]


def test_an_answer_to_what_was_sent_before_a_failure_does_not_end_the_row_but_a_later_one_does(
    health: FailureState,
) -> None:
    fail(health, 4, 2 * S)
    health.answered(S, 3 * S)
    health.answered(3 * S, 3 * S)
    fail(health, 4, 4 * S)
    assert not health.is_out


def test_an_answer_to_what_was_sent_before_a_spend_cap_does_not_end_it_but_a_later_one_does(
    health: FailureState, events: list[Event]
) -> None:
    health.capped(None, 2 * S)
    health.answered(S, 3 * S)
    assert health.is_capped
    health.answered(3 * S, 3 * S)
    assert not health.is_capped
    assert events[-1] == CircuitClosed("p", Cause.SPEND_CAP)


def test_no_two_outages_have_the_same_number_nor_has_the_time_between_them(health: FailureState) -> None:
    found = [health.turns]
    for second in range(0, 40, 20):
        fail(health, 5, second * S)
        found.append(health.turns)
        health.answered((second + 10) * S, (second + 11) * S)
        found.append(health.turns)
    assert len(set(found)) == 5
