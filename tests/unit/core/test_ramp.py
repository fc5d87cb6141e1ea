"""A slope limit: how fast usage may rise, learned from refusals for acceleration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.clock import NS_PER_SECOND as S
from tidegate.core.ramp import RampLimit

MINUTE = 60 * S


@pytest.fixture
def ramp() -> RampLimit:
    return RampLimit()


def send(ramp: RampLimit, now_ns: int) -> int:
    """Sends as much as may be sent now; returns how much that was."""
    count = 0
    while ramp.wait_ns(now_ns) == 0:
        ramp.accepted(now_ns)
        count += 1
    return count


def test_limits_nothing_before_the_upstream_refuses(ramp: RampLimit) -> None:
    ramp.accepted(0, 1_000_000)
    assert ramp.wait_ns(0) == 0


def test_the_first_refusal_tells_the_floor(ramp: RampLimit) -> None:
    ramp.accepted(10 * S, 100)
    ramp.refused(10 * S)
    assert ramp.wait_ns(10 * S) > 0
    assert ramp.wait_ns(69 * S) > 0
    assert send(ramp, 70 * S) == 200, "twice what the minute before had; the floor of 97 is less"


def test_the_floor_is_what_may_always_be_sent(ramp: RampLimit) -> None:
    ramp.accepted(0, 100)
    ramp.refused(0)
    assert send(ramp, 10 * MINUTE) == 97


def test_waiting_goes_by_the_second(ramp: RampLimit) -> None:
    ramp.accepted(0, 100)
    ramp.refused(0)
    assert ramp.wait_ns(S + 3) == S - 3
    assert ramp.wait_ns(2 * S) == S


def test_one_may_go_however_little_was_accepted(ramp: RampLimit) -> None:
    ramp.refused(0)
    assert send(ramp, 0) == 1


def test_usage_doubles_from_minute_to_minute(ramp: RampLimit) -> None:
    ramp.accepted(0, 100)
    ramp.refused(0)
    sent = [send(ramp, minute * MINUTE) for minute in range(1, 5)]
    assert sent == [200, 400, 800, 1_600]


def test_a_later_refusal_measures_the_factor(ramp: RampLimit) -> None:
    ramp.accepted(0, 100)
    ramp.refused(0)
    ramp.accepted(MINUTE, 150)
    ramp.refused(MINUTE)
    assert send(ramp, 2 * MINUTE) == int(150 * 0.97 * 1.5)


def test_the_factor_is_only_lowered_and_never_below_a_little_growth(ramp: RampLimit) -> None:
    ramp.accepted(0, 100)
    ramp.refused(0)
    ramp.accepted(MINUTE, 500)
    ramp.refused(MINUTE)
    assert send(ramp, 2 * MINUTE) == 1_000, "5 × would be more than the factor known"
    ramp.refused(2 * MINUTE)
    for _ in range(2):
        ramp.accepted(3 * MINUTE, 500)
        ramp.refused(3 * MINUTE)
    assert send(ramp, 4 * MINUTE) == 1_050


def test_a_refusal_after_a_quiet_minute_measures_no_factor(ramp: RampLimit) -> None:
    ramp.accepted(0, 100)
    ramp.refused(0)
    ramp.accepted(MINUTE, -100)
    ramp.accepted(2 * MINUTE, 48)
    ramp.accepted(3 * MINUTE, 60)
    ramp.refused(3 * MINUTE)
    assert send(ramp, 4 * MINUTE) == 120


def test_what_was_refused_after_all_is_taken_back(ramp: RampLimit) -> None:
    ramp.accepted(0, 100)
    ramp.accepted(0, -40)
    ramp.refused(0)
    assert send(ramp, 10 * MINUTE) == 58


def test_taking_back_what_was_not_counted_leaves_nothing_negative(ramp: RampLimit) -> None:
    ramp.accepted(0, -40)
    ramp.accepted(0, 100)
    ramp.refused(0)
    assert send(ramp, 10 * MINUTE) == 97


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 50)), min_size=1, max_size=40))
def test_the_two_minutes_are_those_that_a_list_of_all_requests_shows(steps: list[tuple[int, int]]) -> None:
    ramp, second, sent = RampLimit(), 0, []
    ramp.refused(0)
    for pause, count in steps:
        second += pause
        ramp.accepted(second * S, count)
        sent.append((second, count))
    last = sum(count for at, count in sent if second - 60 < at)
    before = sum(count for at, count in sent if second - 120 < at <= second - 60)
    assert (ramp.wait_ns(second * S) == 0) == (last + 1 <= max(1, 2 * before))
