"""The rate between two 429s, and its bounds."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.rate_search.rate_bounds import RateLimitHit, Use, bounds, measure


def hit(at_s: float, requests: int, *, has_retry_after: bool = True, pause_s: float = 1.0) -> RateLimitHit:
    return RateLimitHit(
        round(at_s * S), Cost(requests, 100 * requests, 10 * requests), has_retry_after, round(pause_s * S)
    )


def test_one_alone_measures_nothing() -> None:
    assert measure([], hit(10, 100), shallow=False) is None


def test_what_was_used_by_the_time_between() -> None:
    found = measure([hit(0, 0), hit(10, 100)], hit(30, 200), shallow=False)
    assert found is not None
    assert found.per_second == (5, 500, 50)
    assert (found.moved.requests, found.seconds, found.lately) == (100, 20, 100)


def test_one_that_is_too_near_is_passed_over() -> None:
    found = measure([hit(0, 0), hit(28, 150)], hit(30, 200), shallow=False)
    assert found is not None
    assert (found.seconds, found.lately) == (30, 50)


def test_the_oldest_has_to_do_where_all_are_near() -> None:
    found = measure([hit(26, 0), hit(28, 10)], hit(30, 20), shallow=False)
    assert found is not None
    assert found.seconds == 4


def test_without_being_told_shallow_buckets_lose_pauses() -> None:
    hits = [hit(0, 0, has_retry_after=False, pause_s=2), hit(15, 40, has_retry_after=False, pause_s=2)]
    deep = measure(hits, hit(20, 50, has_retry_after=False), shallow=False)
    shallow = measure(hits, hit(20, 50, has_retry_after=False), shallow=True)
    assert deep is not None
    assert shallow is not None
    assert (deep.seconds, shallow.seconds) == (5, 20), "two of five are too much, four of twenty have to do"


def test_all_pauses_since_count_and_only_as_seconds() -> None:
    hits = [hit(at_s, 2 * at_s, has_retry_after=False, pause_s=2) for at_s in (0, 40, 55)]
    found = measure(hits, hit(60, 120, has_retry_after=False), shallow=True)
    assert found is not None
    assert (found.seconds, found.lately) == (60, 10), "four of twenty are too much"
    well = measure(
        [hit(0, 0, has_retry_after=False), hit(20, 40, has_retry_after=False)],
        hit(40, 80, has_retry_after=False),
        shallow=True,
    )
    assert well is not None
    assert well.seconds == 20, "one of twenty is not"


def test_where_nothing_was_used_there_is_no_rate() -> None:
    found = measure([RateLimitHit(0, Cost())], RateLimitHit(20 * S, Cost(10)), shallow=False)
    assert found is not None
    assert found.per_second == (0.5, 0, 0)


def use(spare: float = 100.0, vague: float = 0.0, per_second: float = 5.0) -> Use:
    return Use(0, spare, vague, per_second)


MARKS = st.builds(
    lambda step_ns, requests, told, pause_ns, fastest: (step_ns, requests, told, pause_ns, fastest),
    st.integers(1, 10**15),
    st.integers(-1_000, 100_000),
    st.booleans(),
    st.integers(0, 10**12),
    st.floats(0, 1e6),
)


@given(
    st.lists(MARKS, min_size=2, max_size=12),
    st.builds(Use, st.integers(0, 2), st.floats(0, 1e9), st.floats(0, 1e9), st.floats(1e-6, 1e9)),
)
def test_bounds_are_finite_and_in_order_whatever_was_used(
    steps: list[tuple[int, int, bool, int, float]], use: Use
) -> None:
    """Corrections of earlier estimates may exceed what was used between two refusals."""
    hits, at_ns, used = [], 0, 0
    for step_ns, requests, told, pause_ns, fastest in steps:
        at_ns, used = at_ns + step_ns, used + requests
        hits.append(RateLimitHit(at_ns, Cost(used, used, used), told, pause_ns, fastest))
    *before, end = hits
    low, high = bounds(before, end, use)
    assert 0 <= low <= high < inf


class TestBounds:
    def test_a_second_of_rounding_at_either_end(self) -> None:
        assert bounds([hit(0, 0)], hit(20, 100), use()) == pytest.approx((100 / 21, 100 / 19))

    def test_rounding_counts_no_more_than_the_bucket_holds(self) -> None:
        assert bounds([hit(0, 0)], hit(20, 100), use(spare=1)) == pytest.approx((99 / 20, 101 / 20))

    def test_all_that_agree_count(self) -> None:
        hits = [hit(0, 0), hit(20, 100)]
        assert bounds(hits, hit(100, 500), use()) == pytest.approx((500 / 101, 500 / 99))

    def test_and_those_before_a_change_do_not(self) -> None:
        hits = [hit(0, 0), hit(100, 2_000)]
        assert bounds(hits, hit(120, 2_100), use()) == pytest.approx((100 / 21, 100 / 19))

    def test_what_is_not_known_of_the_use_widens_them(self) -> None:
        assert bounds([hit(0, 0)], hit(20, 100), use(vague=10)) == pytest.approx((90 / 21, 110 / 19))

    def test_also_where_the_bucket_holds_little(self) -> None:
        assert bounds([hit(0, 0)], hit(20, 100), use(spare=1, vague=10)) == pytest.approx((89 / 20, 111 / 20))

    def test_a_low_rate_is_as_low_as_it_is(self) -> None:
        assert bounds([hit(0, 0)], hit(100, 10), use(spare=1)) == pytest.approx((10 / 101, 10 / 99))

    def test_a_second_is_no_more_than_rounding(self) -> None:
        assert bounds([hit(19, 98)], hit(20, 100), use(spare=3)) == pytest.approx((2 / 2, 5 / 1))

    def test_less_time_than_rounding_gives_no_upper_bound_but_what_the_bucket_holds(self) -> None:
        assert bounds([hit(19.5, 98)], hit(20, 100), use(spare=3)) == pytest.approx((2 / 1.5, 5 / 0.5))

    def test_at_the_rate_that_was_tried_the_bucket_may_have_been_full_meanwhile(self) -> None:
        fast = hit(20, 100)._replace(highest_rate=8.0)
        assert bounds([hit(0, 0)], fast, use(spare=20)) == pytest.approx((100 / 21, 8 - 20 / 20))

    def test_a_faster_time_before_counts_only_for_what_lies_before(self) -> None:
        hits = [hit(0, 0), hit(20, 100)._replace(highest_rate=50.0)]
        low, high = bounds(hits, hit(40, 200), use(spare=20))
        assert (low, high) == pytest.approx((200 / 41, 100 / 19))

    def test_without_being_told_a_shallow_bucket_loses_what_comes_back_in_pauses(self) -> None:
        hits = [hit(0, 0, has_retry_after=False, pause_s=5)]
        assert bounds(hits, hit(25, 100, has_retry_after=False), use(spare=5)) == pytest.approx((100 / 25, 100 / 21))
        assert bounds(hits, hit(25, 100, has_retry_after=False), use()) == pytest.approx((100 / 25, 100 / 25))
        vague = use(spare=5, vague=10)
        assert bounds(hits, hit(25, 100, has_retry_after=False), vague) == pytest.approx((90 / 25, 110 / 21))

    def test_in_each_pause(self) -> None:
        hits = [hit(0, 0, has_retry_after=False, pause_s=2), hit(25, 100, has_retry_after=False, pause_s=5)]
        assert bounds(hits, hit(50, 200, has_retry_after=False), use(spare=5)) == pytest.approx((200 / 50, 200 / 45))

    def test_a_pause_for_most_of_the_time_gives_no_upper_bound_but_what_the_bucket_holds(self) -> None:
        hits = [hit(0, 0, has_retry_after=False, pause_s=30)]
        assert bounds(hits, hit(25, 100, has_retry_after=False), use(spare=5)) == pytest.approx((100 / 25, 105 / 25))
