"""Refill and outflow of buckets, compared with traces computed by hand."""

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_simulator.limits.buckets import Bucket, TokenBucket, WindowBucket


def token_bucket(*, capacity: float = 60) -> TokenBucket:
    """One a second."""
    return TokenBucket(limit_per_minute=60, capacity=capacity, now_seconds=100)


def window_bucket(*, window_seconds: float = 10) -> WindowBucket:
    """One a second, given out in windows of ten."""
    return WindowBucket(limit_per_minute=60, capacity=window_seconds, now_seconds=100, window_seconds=window_seconds)


def test_outflow_slows_refill() -> None:
    bucket = token_bucket()
    bucket.take(60, 100)
    bucket.outflow_per_second = 0.75

    assert bucket.level(108) == 2
    assert bucket.seconds_until(10, 108) == 8  # by refill alone: what the API reports


def test_a_full_bucket_drains_at_the_net_rate() -> None:
    bucket = token_bucket()
    bucket.outflow_per_second = 3

    assert bucket.level(110) == 40


def test_refill_stops_at_the_capacity() -> None:
    assert token_bucket(capacity=5).level(130) == 5


def test_a_new_limit_keeps_the_level_within_the_capacity() -> None:
    bucket = token_bucket()
    bucket.take(10, 100)
    bucket.set_limit(30, 30, 105)
    assert bucket.level(105) == 30

    bucket.take(20, 105)
    assert bucket.level(109) == 12
    bucket.set_limit(120, 120, 109)
    assert bucket.level(110) == 14


def test_a_rounding_error_causes_no_wait() -> None:
    bucket = token_bucket()
    bucket.take(60 - 0.9999999, 100)

    assert bucket.seconds_until(1, 100) == 0


def test_a_window_refills_at_its_end_only() -> None:
    bucket = window_bucket()
    bucket.take(10, 101)

    assert [bucket.level(at) for at in (101, 109.999, 110, 115)] == [0, 0, 10, 10]


def test_the_reset_time_of_a_window_does_not_move() -> None:
    bucket = window_bucket()
    ends = []
    for at in (100, 103, 107.5):
        bucket.take(1, at)
        ends.append(at + bucket.seconds_until_full(at))

    assert ends == [110, 110, 110]
    assert bucket.seconds_until_full(110) == 10


def test_a_debt_is_carried_into_the_next_window() -> None:
    bucket = window_bucket()
    bucket.take(35, 104)

    assert bucket.level(104) == -25
    assert bucket.seconds_until(1, 104) == 6 + 20
    assert [bucket.level(at) for at in (110, 120, 130, 140)] == [-15, -5, 5, 10]


def test_outflow_goes_on_through_windows() -> None:
    """2 a second flow out of windows of 10: -10 in each, +10 at the end of each, from 10."""
    bucket = window_bucket()
    bucket.outflow_per_second = 2

    assert [bucket.level(at) for at in (105, 109, 110, 115, 120, 122)] == [0, -8, 0, -10, -10, -14]


def test_a_year_of_idle_windows_is_skipped_in_one_step() -> None:
    bucket = window_bucket(window_seconds=1)

    assert bucket.level(100 + 86_400 * 365) == 1


def test_a_new_limit_applies_to_the_current_window() -> None:
    bucket = window_bucket()
    bucket.take(8, 101)
    bucket.set_limit(30, 5, 102)

    assert [bucket.level(at) for at in (102, 109, 110)] == [0, 0, 5]
    bucket.set_limit(48, 8, 111)
    assert bucket.level(111) == 8


@pytest.mark.parametrize("make", [token_bucket, window_bucket])
@given(
    steps=st.lists(st.tuples(st.floats(0, 30), st.floats(-5, 20), st.floats(0, 4)), max_size=15),
    looks=st.lists(st.floats(0, 400), max_size=20),
)
def test_reading_the_level_changes_nothing(
    make: "type[Bucket]", steps: list[tuple[float, float, float]], looks: list[float]
) -> None:
    """Two buckets with the same history, one of which is looked at more often, have the same level."""
    looked_at, left_alone = make(), make()
    now = 100.0
    for wait, amount, outflow in steps:
        for look in sorted(look for look in looks if now < 100 + look < now + wait):
            looked_at.level(100 + look)
        now += wait
        for bucket in (looked_at, left_alone):
            bucket.take(amount, now)
            bucket.outflow_per_second = outflow

    assert looked_at.level(now) == pytest.approx(left_alone.level(now), abs=1e-6)


def refill_of_token_bucket(elapsed: float) -> float:
    return elapsed


def refill_of_window_bucket(elapsed: float) -> float:
    return 10 * math.floor(elapsed / 10)


@pytest.mark.parametrize(
    ("make", "refill"), [(token_bucket, refill_of_token_bucket), (window_bucket, refill_of_window_bucket)]
)
@given(
    steps=st.lists(st.tuples(st.floats(0, 30), st.floats(0, 20)), max_size=30),
    need=st.floats(0.1, 10),
)
def test_amounts_that_fit_never_exceed_capacity_and_refill(
    make: "type[Bucket]", refill: Callable[[float], float], steps: list[tuple[float, float]], need: float
) -> None:
    bucket, now, taken = make(), 100.0, 0.0
    capacity = bucket.capacity
    for wait, amount in steps:
        now += wait
        if bucket.seconds_until(min(amount, bucket.capacity), now) == 0 and amount <= bucket.capacity:
            bucket.take(amount, now)
            taken += amount
        assert bucket.level(now) <= bucket.capacity
        assert taken <= capacity + refill(now - 100) + 1e-6
    wait = bucket.seconds_until(need, now)
    assert bucket.level(now + wait) >= need - 1e-5
