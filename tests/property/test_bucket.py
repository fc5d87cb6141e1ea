"""The token bucket against exact arithmetic: refill, windows, waits, debt, clocks that go back."""

import copy
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.domain.nanoseconds import NS_PER_MINUTE
from tidegate.core.limits.token_bucket import TokenBucket

RATES = st.integers(1, 10**12) | st.sampled_from([7, 20_000_000, 333_333_333])
CAPACITIES = st.integers(1, 10**9) | st.just(5_000_000)
AMOUNTS = st.integers(0, 2 * 10**9)
STEPS_NS = st.integers(0, 10**12) | st.integers(0, 100)


@given(RATES, CAPACITIES, AMOUNTS, st.lists(STEPS_NS, min_size=1, max_size=30))
def test_many_small_refills_are_one_large_refill(rate: int, capacity: int, taken: int, steps_ns: list[int]) -> None:
    many = TokenBucket(rate, capacity, now_ns=0)
    one = TokenBucket(rate, capacity, now_ns=0)
    for bucket in (many, one):
        bucket.charge(taken)
    for now_ns in accumulate(steps_ns):
        many.level_micro(now_ns)
    end_ns = sum(steps_ns)
    assert many.level_micro(end_ns) == one.level_micro(end_ns)
    assert one.level_micro(end_ns) == min(capacity, capacity - taken + end_ns * rate // NS_PER_MINUTE)


@given(RATES, CAPACITIES, st.lists(st.tuples(STEPS_NS, AMOUNTS), max_size=40))
def test_any_window_admits_at_most_capacity_plus_refill(
    rate: int, capacity: int, attempts: list[tuple[int, int]]
) -> None:
    bucket = TokenBucket(rate, capacity, now_ns=0)
    now_ns = 0
    taken: list[tuple[int, int]] = []
    for step_ns, amount in attempts:
        now_ns += step_ns
        if amount <= capacity and bucket.fits(amount, now_ns):
            bucket.charge(amount)
            taken.append((now_ns, amount))
    for first, (start_ns, _) in enumerate(taken):
        sums = accumulate(amount for _, amount in taken[first:])
        for (end_ns, _), total in zip(taken[first:], sums, strict=True):
            assert total * NS_PER_MINUTE <= capacity * NS_PER_MINUTE + rate * (end_ns - start_ns)


@given(RATES, CAPACITIES, AMOUNTS, AMOUNTS, STEPS_NS)
def test_a_wait_is_exact_to_the_nanosecond(rate: int, capacity: int, taken: int, wanted: int, now_ns: int) -> None:
    bucket = TokenBucket(rate, capacity, now_ns=0)
    bucket.charge(taken)
    wait_ns = bucket.wait_ns(wanted, now_ns)
    assert (wait_ns == 0) == bucket.fits(wanted, now_ns)
    if wait_ns:
        assert not copy.copy(bucket).fits(wanted, now_ns + wait_ns - 1)
    assert bucket.fits(wanted, now_ns + wait_ns)


@given(RATES, CAPACITIES, AMOUNTS, st.lists(STEPS_NS, max_size=10), st.lists(STEPS_NS, min_size=1, max_size=10))
def test_a_clock_that_goes_back_adds_nothing(
    rate: int, capacity: int, taken: int, forward_ns: list[int], back_ns: list[int]
) -> None:
    bucket = TokenBucket(rate, capacity, now_ns=0)
    bucket.charge(taken)
    latest_ns = sum(forward_ns)
    level = bucket.level_micro(latest_ns)
    for step_ns in back_ns:
        assert bucket.level_micro(latest_ns - step_ns) == level
    untouched = TokenBucket(rate, capacity, now_ns=0)
    untouched.charge(taken)
    later_ns = latest_ns + 10**9
    assert bucket.level_micro(later_ns) == untouched.level_micro(later_ns)


@given(RATES, CAPACITIES, RATES, CAPACITIES, AMOUNTS, STEPS_NS)
def test_a_change_refills_nothing(
    rate: int, capacity: int, new_rate: int, new_capacity: int, taken: int, now_ns: int
) -> None:
    bucket = TokenBucket(rate, capacity, now_ns=0)
    bucket.charge(taken)
    level = bucket.level_micro(now_ns)
    bucket.change(new_rate, new_capacity, now_ns)
    assert bucket.level_micro(now_ns) == min(level, new_capacity)
    later_ns = now_ns + NS_PER_MINUTE
    assert bucket.level_micro(later_ns) in {
        min(new_capacity, min(level, new_capacity) + new_rate),
        min(new_capacity, min(level, new_capacity) + new_rate + 1),  # the carry of the old rate completes a unit
    }
