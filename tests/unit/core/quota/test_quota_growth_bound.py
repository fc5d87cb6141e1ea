"""A pool whose use may not rise too fast, in requests or in input tokens."""

import pytest

from tidegate.core.domain.dimension import ONE_REQUEST, Cost
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, PoolSettings
from tidegate.core.quota.quota import Quota

MINUTE = 61 * S
"""Whatever the second in which the upstream begins to count, this is a minute later."""
SIZES = (100, 60, 120, 50, 150, 80)
NOW = len(SIZES) * MINUTE
LARGE, OUTPUT_ONLY = Cost(1, 10_000_000), Cost(1, 1, 10_000_000)


def answer(made: Quota, now_ns: int) -> None:
    made.learn_limits(LimitReport(DimensionReport(6_000, 3_000, 30 * S)), now_ns)


def refuse(made: Quota, now_ns: int, needed: Cost) -> None:
    made.learn_429(RateLimited(sent_ago_ns=0, acceleration=True), now_ns, needed)
    answer(made, now_ns)


def grown(*, is_input: bool) -> Quota:
    """Used half as much again each minute, in requests or in input tokens, and was refused at the end of each."""
    made, allowed = Quota("p", PoolSettings(), 0), 12_000
    for minute, size in enumerate(SIZES):
        count = allowed // (size if is_input else 100)
        made.correct_use(count, count * size, 0, minute * MINUTE)
        answer(made, minute * MINUTE)
        refuse(made, minute * MINUTE, Cost(1, size))
        allowed = allowed * 3 // 2
    return made


@pytest.fixture
def by_input() -> Quota:
    made = grown(is_input=True)
    made.correct_use(1, 1, 0, NOW)
    return made


@pytest.fixture
def by_requests() -> Quota:
    return grown(is_input=False)


class TestInput:
    def test_that_is_too_much_waits_and_output_does_not_count(self, by_input: Quota) -> None:
        assert not by_input.fits(LARGE, NOW)
        assert by_input.wait_ns(LARGE, NOW) == S // 4
        assert by_input.binding(LARGE, NOW) == "acceleration"
        assert by_input.idle_wait_ns(LARGE, NOW) == S // 4
        assert by_input.fits(OUTPUT_ONLY, NOW)
        assert by_input.wait_ns(OUTPUT_ONLY, NOW) == 0

    def test_counts_when_it_is_sent_and_output_does_not(self, by_input: Quota) -> None:
        by_input.charge(OUTPUT_ONLY, NOW)
        assert by_input.fits(Cost(1, 1), NOW)
        by_input.charge(LARGE, NOW)
        assert not by_input.fits(Cost(1, 1), NOW)
        by_input.correct_use(-LARGE.requests, -LARGE.input_tokens, 0, NOW)
        assert by_input.fits(Cost(1, 1), NOW)

    def test_counts_when_it_turns_out_to_be_more(self, by_input: Quota) -> None:
        by_input.correct_use(0, 10_000_000, 0, NOW)
        assert not by_input.fits(Cost(1, 1), NOW)

    def test_of_the_request_that_was_refused_was_too_much(self) -> None:
        """10,000 a minute; twice as much, by one large request, is refused, and that is the input of it."""
        made = Quota("p", PoolSettings(), 0)
        for minute in (0, 1):
            made.correct_use(100, 10_000, 0, minute * MINUTE)
            answer(made, minute * MINUTE)
        refuse(made, MINUTE, Cost(1, 10_000))
        made.correct_use(1, 1, 0, 2 * MINUTE)
        assert made.fits(Cost(1, 15_000), 2 * MINUTE), "half-way"
        assert not made.fits(Cost(1, 20_000), 2 * MINUTE)


class TestRequests:
    def test_that_are_too_many_wait_until_some_are_given_back(self, by_requests: Quota) -> None:
        count = 0
        while by_requests.fits(LARGE, NOW):
            by_requests.charge(LARGE, NOW)
            count += 1
        assert count > 900, "half as many again as 911"
        by_requests.correct_use(-LARGE.requests, -LARGE.input_tokens, 0, NOW)
        assert by_requests.fits(LARGE, NOW)


def test_only_levels_bind_where_nothing_else_does(by_requests: Quota) -> None:
    probing, answered = Quota("p", PoolSettings(), 0), Quota("p", PoolSettings(), 0)
    answer(answered, 0)
    assert not probing.only_levels_bind(0)
    assert answered.only_levels_bind(0)
    assert not by_requests.only_levels_bind(NOW)
    answered._freeze.extend(S, 0)
    assert not answered.only_levels_bind(0)


def test_one_that_becomes_adaptive_is_bound_no_more(by_requests: Quota) -> None:
    by_requests.correct_use(100_000, 0, 0, NOW)
    assert by_requests.wait_ns(ONE_REQUEST, NOW) > 0
    by_requests.configure(PoolSettings(adaptive=AdaptiveSettings()), NOW)
    assert by_requests.wait_ns(ONE_REQUEST, NOW) == 0
    assert by_requests.only_levels_bind(NOW)


@pytest.mark.parametrize(("acceleration", "waves"), [(True, [1, 4, 16]), (False, [1, 2, 4])])
def test_probes_grow_faster_where_the_slope_says_how_many_may_go(*, acceleration: bool, waves: list[int]) -> None:
    made = Quota("p", PoolSettings(), 0)
    made.learn_limits(LimitReport(), 0)
    for second in range(10):
        made.correct_use(1_000, 0, 0, second * S)
        made.demand_seen(second * S)
    made.correct_use(100, 0, 0, 2 * MINUTE)
    made.learn_429(RateLimited(sent_ago_ns=S // 10, acceleration=acceleration), 3 * MINUTE)
    found = []
    for wave in range(3):
        now_ns = 3 * MINUTE + wave * S // 5
        found.append(0)
        while made.fits(ONE_REQUEST, now_ns):
            made.charge(ONE_REQUEST, now_ns)
            found[-1] += 1
    assert found == waves
