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


def use(ramp: RampLimit, now_ns: int, count: int, input_tokens: int = 0) -> None:
    for _ in range(count):
        ramp.accepted(now_ns, input_tokens)


def send(ramp: RampLimit, now_ns: int) -> int:
    """Sends as much as may be sent now; returns how much that was."""
    count = 0
    while ramp.wait_ns(now_ns) == 0:
        ramp.accepted(now_ns)
        count += 1
    return count


def test_limits_nothing_before_the_upstream_refuses(ramp: RampLimit) -> None:
    use(ramp, 0, 10_000)
    assert ramp.wait_ns(0) == 0


def test_the_first_refusal_tells_the_floor(ramp: RampLimit) -> None:
    use(ramp, 10 * S, 100)
    ramp.refused(10 * S)
    assert ramp.wait_ns(10 * S) > 0
    assert ramp.wait_ns(69 * S) > 0
    assert send(ramp, 70 * S) == 200, "twice what the minute before had; the floor of 100 is less"


def test_the_floor_is_what_may_always_be_sent(ramp: RampLimit) -> None:
    use(ramp, 0, 100)
    ramp.refused(0)
    assert send(ramp, 10 * MINUTE) == 100


def test_a_refusal_below_the_floor_lowers_it(ramp: RampLimit) -> None:
    for minute, count in ((0, 100), (10, 60)):
        use(ramp, minute * MINUTE, count)
        ramp.refused(minute * MINUTE)
    assert send(ramp, 20 * MINUTE) == 60


def test_waiting_goes_by_the_second(ramp: RampLimit) -> None:
    use(ramp, 0, 100)
    ramp.refused(0)
    assert ramp.wait_ns(S + 3) == S - 3
    assert ramp.wait_ns(2 * S) == S


def test_one_may_go_however_little_was_accepted(ramp: RampLimit) -> None:
    ramp.refused(0)
    assert send(ramp, 0) == 1


def test_usage_doubles_from_minute_to_minute(ramp: RampLimit) -> None:
    use(ramp, 0, 100)
    ramp.refused(0)
    sent = [send(ramp, minute * MINUTE) for minute in range(1, 5)]
    assert sent == [200, 400, 800, 1_600]


def test_a_later_refusal_measures_the_factor(ramp: RampLimit) -> None:
    use(ramp, 0, 100)
    ramp.refused(0)
    use(ramp, MINUTE, 150)
    ramp.refused(MINUTE)
    assert send(ramp, 2 * MINUTE) == 225


def test_the_factor_is_only_lowered_and_never_below_a_little_growth(ramp: RampLimit) -> None:
    use(ramp, 0, 100)
    ramp.refused(0)
    use(ramp, MINUTE, 500)
    ramp.refused(MINUTE)
    assert send(ramp, 2 * MINUTE) == 1_000, "5 × would be more than the factor known"
    use(ramp, 3 * MINUTE, 1_000)
    ramp.refused(3 * MINUTE)
    assert send(ramp, 4 * MINUTE) == 1_050


def test_what_was_refused_after_all_is_taken_back(ramp: RampLimit) -> None:
    use(ramp, 0, 100)
    for _ in range(40):
        ramp.taken_back(0)
    ramp.refused(0)
    assert send(ramp, 10 * MINUTE) == 60


def test_taking_back_what_was_not_counted_leaves_nothing_negative(ramp: RampLimit) -> None:
    ramp.taken_back(0)
    use(ramp, 0, 100)
    ramp.refused(0)
    assert send(ramp, 10 * MINUTE) == 100


def grown(sizes: tuple[int, ...], *, is_input: bool) -> RampLimit:
    """Used half as much again each minute, in requests or in input tokens, and was refused at the end of each."""
    ramp, allowed = RampLimit(), 12_000
    for minute, size in enumerate(sizes):
        use(ramp, minute * MINUTE, allowed // (size if is_input else 100), size)
        ramp.refused(minute * MINUTE)
        allowed = allowed * 3 // 2
    return ramp


def test_requests_are_believed_to_be_limited() -> None:
    ramp = grown((100, 60, 120, 50, 150, 80), is_input=False)
    use(ramp, 6 * MINUTE, 1, 10_000_000)
    assert ramp.wait_ns(6 * MINUTE) == 0


def test_input_is_where_its_figures_agree_better() -> None:
    ramp = grown((100, 60, 120, 50, 150, 80), is_input=True)
    use(ramp, 6 * MINUTE, 1, 10_000_000)
    assert ramp.wait_ns(6 * MINUTE) > 0


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(0, 50)), min_size=1, max_size=40))
def test_the_two_minutes_are_those_that_a_list_of_all_requests_shows(steps: list[tuple[int, int]]) -> None:
    ramp, second, sent = RampLimit(), 0, []
    ramp.refused(0)
    for pause, count in steps:
        second += pause
        use(ramp, second * S, count)
        sent.append((second, count))
    last = sum(count for at, count in sent if second - 60 < at)
    before = sum(count for at, count in sent if second - 120 < at <= second - 60)
    assert (ramp.wait_ns(second * S) == 0) == (last + 1 <= max(1, 2 * before))
