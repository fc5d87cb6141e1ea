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
    assert send(ramp, 70 * S) == 101, "the floor of 100, and then gently towards twice what the minute before had"


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


def send_all_minute(ramp: RampLimit, minute: int) -> int:
    return sum(send(ramp, minute * MINUTE + second * S) for second in range(60))


def test_usage_doubles_from_minute_to_minute_but_what_is_new_goes_gently() -> None:
    ramp = RampLimit()
    use(ramp, 0, 100)
    ramp.refused(0)
    assert send(ramp, MINUTE) == 100 + 1, "more goes in the seconds after this"
    assert send(ramp, MINUTE + S) == 5, "a twentieth each"
    minutes = [106 + sum(send(ramp, MINUTE + second * S) for second in range(2, 60))]
    minutes += [send_all_minute(ramp, minute) for minute in range(2, 4)]
    assert minutes == [200, 400, 800]


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
    ramp.corrected(0, -40, 0)
    ramp.refused(0)
    assert send(ramp, 10 * MINUTE) == 60


def test_so_is_what_was_refused_with_it(ramp: RampLimit) -> None:
    use(ramp, 0, 120)
    ramp.refused(0)
    for _ in range(20):
        ramp.corrected(0, -1, 0)
        ramp.refused_too(0)
    use(ramp, MINUTE, 160)
    ramp.refused(MINUTE)
    for _ in range(10):
        ramp.corrected(MINUTE, -1, 0)
        ramp.refused_too(MINUTE)
    assert send(ramp, 2 * MINUTE) == 225, "the floor was 100, and 150 were half as much again"


def test_taking_back_what_was_not_counted_leaves_nothing_negative(ramp: RampLimit) -> None:
    ramp.corrected(0, -1, -10)
    use(ramp, 0, 100)
    ramp.refused(0)
    assert send(ramp, 10 * MINUTE) == 100


def grown(sizes: tuple[int, ...], *, is_input: bool) -> RampLimit:
    """Used half as much again each minute, in requests or in input tokens, and was refused at the end of each."""
    ramp, allowed = RampLimit(), 12_000
    for minute, size in enumerate(sizes):
        use(ramp, minute * MINUTE, allowed // (size if is_input else 100), size)
        ramp.refused(minute * MINUTE, size)
        allowed = allowed * 3 // 2
    return ramp


SIZES = (100, 60, 120, 50, 150, 80)


def test_requests_are_believed_where_their_figures_agree_better() -> None:
    ramp = grown(SIZES, is_input=False)
    use(ramp, 6 * MINUTE, 1, 10_000_000)
    assert ramp.wait_ns(6 * MINUTE) == 0


def test_input_is_where_its_figures_do() -> None:
    ramp = grown(SIZES, is_input=True)
    use(ramp, 6 * MINUTE, 1, 10_000_000)
    assert ramp.wait_ns(6 * MINUTE) > 0
    use(ramp, 8 * MINUTE, 100_000, 0)
    assert ramp.wait_ns(8 * MINUTE) == 0


def test_while_that_is_open_a_little_more_goes_than_the_tighter_of_both_allows() -> None:
    ramp = RampLimit()
    use(ramp, 0, 100, 100)
    ramp.refused(0, 100)
    use(ramp, 10 * MINUTE, 50, 100)
    assert ramp.wait_ns(10 * MINUTE) == 0
    use(ramp, 10 * MINUTE, 1, 20_000)
    assert ramp.wait_ns(10 * MINUTE) > 0, "too much input in this second"
    assert ramp.wait_ns(10 * MINUTE + S) == 0, "requests allow it"
    use(ramp, 10 * MINUTE + S, 2, 100)
    assert ramp.wait_ns(10 * MINUTE + S) > 0, "but few of them"
    use(ramp, 10 * MINUTE + S, 60, 100)
    assert ramp.wait_ns(10 * MINUTE + 2 * S) > 0, "now both are used up"


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
    now = sum(count for at, count in sent if at == second)
    gently = last <= before or now + 1 <= max(1, last / 20)
    assert (ramp.wait_ns(second * S) == 0) == (last + 1 <= max(1, 2 * before) and gently)
