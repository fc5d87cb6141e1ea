"""Pools of limits, compared with traces computed by hand, and their invariants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_simulator.limits.buckets import TokenBucket
from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.pool import Charge, Pool
from claude_simulator.limits.pool_limits import PoolLimits, input_tokens_estimate
from claude_simulator.limits.rejections import RateLimited

LIMITS = PoolLimits(requests_per_minute=60, input_tokens_per_minute=6_000, output_tokens_per_minute=1_200)


def make_pool(limits: PoolLimits = LIMITS) -> Pool:
    return Pool(limits.per_minute(), now_seconds=0, enforcement_seconds=limits.enforcement_seconds)


def remaining(pool: Pool, now_seconds: float) -> dict[Dimension, float]:
    return {dimension: state.remaining for dimension, state in pool.state(now_seconds).items()}


def admitted(outcome: Charge | RateLimited) -> Charge:
    assert isinstance(outcome, Charge)
    return outcome


def test_a_bucket_refills_continuously_up_to_its_capacity() -> None:
    bucket = TokenBucket(limit_per_minute=60, capacity=60, now_seconds=100)
    bucket.take(60, 100)

    assert [bucket.level(at) for at in (100, 100.5, 101, 130, 160, 1_000)] == [0, 0.5, 1, 30, 60, 60]


def test_a_clock_that_steps_back_neither_refills_nor_drains() -> None:
    bucket = TokenBucket(limit_per_minute=60, capacity=60, now_seconds=100)
    bucket.take(10, 100)

    assert bucket.level(40) == 50
    assert bucket.level(101) == 51


def test_refill_pays_a_debt_first() -> None:
    bucket = TokenBucket(limit_per_minute=60, capacity=60, now_seconds=0)
    bucket.take(90, 0)

    assert bucket.level(0) == -30
    assert bucket.seconds_until(1, 0) == 31
    assert bucket.level(31) == 1


def test_requests_bind_by_hand() -> None:
    """60 a minute: 60 at once, then one a second."""
    pool = make_pool()
    outcomes = [pool.admit(1, 0) for _ in range(61)]

    assert all(isinstance(outcome, Charge) for outcome in outcomes[:60])
    assert outcomes[60] == RateLimited(Dimension.REQUESTS, 60, 1.0)
    assert pool.admit(1, 0.75) == RateLimited(Dimension.REQUESTS, 60, 0.25)
    assert isinstance(pool.admit(1, 1), Charge)
    assert isinstance(pool.admit(1, 1), RateLimited)


def test_input_is_estimated_then_corrected_by_hand() -> None:
    """6,000 a minute is 100 a second: 6,000 - 4,000 + 1,000 (corrected to 3,000) + 100 after a second."""
    pool = make_pool()
    charge = admitted(pool.admit(4_000, 0))
    assert remaining(pool, 0)[Dimension.INPUT_TOKENS] == 2_000

    pool.correct_input(charge, 3_000, 0)
    assert remaining(pool, 0)[Dimension.INPUT_TOKENS] == 3_000
    assert pool.admit(3_200, 1) == RateLimited(Dimension.INPUT_TOKENS, 6_000, 1.0)
    assert isinstance(pool.admit(3_200, 2), Charge)
    assert pool.own.input_tokens == 6_200


def test_an_input_estimated_too_low_leads_to_debt() -> None:
    pool = make_pool()
    charge = admitted(pool.admit(5_000, 0))
    pool.correct_input(charge, 8_000, 0)

    assert remaining(pool, 0)[Dimension.INPUT_TOKENS] == -2_000
    assert pool.admit(100, 0) == RateLimited(Dimension.INPUT_TOKENS, 6_000, 21.0)


def test_output_is_charged_as_it_is_produced_by_hand() -> None:
    """1,200 a minute is 20 a second: 1,000 produced, a second later 500 more, 280 in debt."""
    pool = make_pool()
    charge = admitted(pool.admit(1, 0))
    pool.produce(charge, 1_000, 0)
    pool.produce(charge, 500, 1)

    assert remaining(pool, 1)[Dimension.OUTPUT_TOKENS] == -280
    assert pool.admit(1, 1) == RateLimited(Dimension.OUTPUT_TOKENS, 1_200, 14.05)
    assert isinstance(pool.admit(1, 15.1), Charge)
    assert pool.own.output_tokens(15.1) == 1_500


def test_the_dimension_with_the_longest_wait_is_reported() -> None:
    pool = make_pool()
    charge = admitted(pool.admit(6_000, 0))
    pool.produce(charge, 1_220, 0)

    # 600 input tokens need 6 s, one output token needs 21 / 20 s
    assert pool.admit(600, 0) == RateLimited(Dimension.INPUT_TOKENS, 6_000, 6.0)


def test_a_request_larger_than_its_bucket_is_admitted_when_the_bucket_is_full() -> None:
    pool = make_pool()
    admitted(pool.admit(9_000, 0))

    assert remaining(pool, 0)[Dimension.INPUT_TOKENS] == -3_000
    assert pool.admit(9_000, 0) == RateLimited(Dimension.INPUT_TOKENS, 6_000, 90.0)


def test_one_second_enforcement_keeps_the_rate_and_shrinks_the_burst() -> None:
    limits = PoolLimits(
        requests_per_minute=120,
        input_tokens_per_minute=6_000,
        output_tokens_per_minute=1_200,
        enforcement_seconds=1,
    )
    pool = make_pool(limits)

    assert [isinstance(pool.admit(1, 0), Charge) for _ in range(3)] == [True, True, False]
    assert [isinstance(pool.admit(1, 0.5), Charge) for _ in range(2)] == [True, False]


def test_in_flight_counts_each_request_until_it_is_finished_once() -> None:
    pool = make_pool()
    charges = [admitted(pool.admit(1, 0)) for _ in range(2)]
    assert pool.own.in_flight == 2

    pool.finish(charges[0], 0)
    pool.finish(charges[0], 0)
    assert pool.own.in_flight == 1


def test_a_refusal_costs_nothing_but_is_counted() -> None:
    pool = make_pool()
    admitted(pool.admit(6_000, 0))
    before = remaining(pool, 0)

    assert isinstance(pool.admit(6_000, 0), RateLimited)
    assert remaining(pool, 0) == before
    assert (pool.own.requests, pool.own.rate_limited) == (1, 1)


@given(
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(0, 7_000), st.integers(0, 300)), max_size=60),
    enforcement_seconds=st.sampled_from([1.0, 10.0, 60.0]),
)
def test_no_window_admits_more_than_capacity_and_refill(
    steps: list[tuple[float, int, int]], enforcement_seconds: float
) -> None:
    limits = PoolLimits(
        requests_per_minute=60,
        input_tokens_per_minute=6_000,
        output_tokens_per_minute=1_200,
        enforcement_seconds=enforcement_seconds,
    )
    pool = make_pool(limits)
    now, taken = 0.0, []
    for wait, tokens, produced in steps:
        now += wait
        outcome = pool.admit(tokens, now)
        if isinstance(outcome, Charge):
            pool.produce(outcome, produced, now)
            taken.append((now, tokens))

    largest = max((tokens for _, tokens in taken), default=0)
    capacity = max(100 * enforcement_seconds, largest)  # a request larger than a full bucket is admitted
    for first in range(len(taken)):
        for last in range(first, len(taken)):
            seconds = taken[last][0] - taken[first][0]
            assert last - first + 1 <= enforcement_seconds + seconds + 1e-6
            assert sum(tokens for _, tokens in taken[first : last + 1]) <= capacity + 100 * seconds + 1e-6


@given(wait=st.floats(0, 100), tokens=st.integers(0, 9_000))
def test_a_refused_request_fits_exactly_after_its_wait(wait: float, tokens: int) -> None:
    pool = make_pool()
    admitted(pool.admit(5_500, 0))
    outcome = pool.admit(tokens, wait)

    if isinstance(outcome, RateLimited):
        assert isinstance(pool.admit(tokens, wait + outcome.wait_seconds - 1e-3), RateLimited)
        assert isinstance(pool.admit(tokens, wait + outcome.wait_seconds + 1e-6), Charge)


@pytest.mark.parametrize("value", [0, -1, True, 1.5])
def test_a_limit_must_be_a_whole_number_above_zero(value: int) -> None:
    with pytest.raises(ValueError, match=r"requests_per_minute: .* was given; a whole number above 0 is allowed"):
        PoolLimits(requests_per_minute=value, input_tokens_per_minute=1, output_tokens_per_minute=1)


@pytest.mark.parametrize("value", [0, -1, 61, float("nan"), float("inf")])
def test_an_enforcement_period_is_at_most_a_minute(value: float) -> None:
    with pytest.raises(
        ValueError, match=r"enforcement_seconds: .* was given; a finite number above 0 and up to 60 is allowed"
    ):
        PoolLimits(
            requests_per_minute=1, input_tokens_per_minute=1, output_tokens_per_minute=1, enforcement_seconds=value
        )


def test_an_input_is_estimated_at_four_characters_per_token() -> None:
    assert input_tokens_estimate(1_000, 3.1) == 775
    assert input_tokens_estimate(1, 3.1) == 1
