"""The token bucket by example."""

import pytest

from tidegate.core.domain.dimension import MICRO
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.limits.token_bucket import TokenBucket

RATE = 20_000_000  # 20 requests a minute: one every 3 s
CAPACITY = 5_000_000
ONE = 1_000_000


@pytest.fixture
def bucket() -> TokenBucket:
    return TokenBucket(RATE, CAPACITY, now_ns=0)


def test_starts_full_unless_told(bucket: TokenBucket) -> None:
    assert bucket.level_micro(0) == CAPACITY
    assert TokenBucket(RATE, CAPACITY, 0, level_micro=ONE).level_micro(0) == ONE


def test_after_a_burst_the_spacing_is_exact(bucket: TokenBucket) -> None:
    bucket.charge(CAPACITY)
    for number in range(1, 20):
        due_ns = number * 3 * S
        assert not bucket.fits(ONE, due_ns - 1)
        assert bucket.wait_ns(ONE, due_ns - 1) == 1
        assert bucket.fits(ONE, due_ns)
        bucket.charge(ONE)


def test_never_fuller_than_full(bucket: TokenBucket) -> None:
    bucket.charge(ONE)
    assert bucket.level_micro(3_600 * S) == CAPACITY
    bucket.correct(-ONE, 3_600 * S)
    assert bucket.level_micro(3_600 * S) == CAPACITY


def test_a_filled_bucket_is_full_and_refills_at_the_same_rate(bucket: TokenBucket) -> None:
    bucket.charge(CAPACITY)
    bucket.fill(S)
    bucket.charge(3 * ONE)
    assert [bucket.level_micro(seconds * S) for seconds in (1, 4, 60)] == [2 * ONE, 3 * ONE, CAPACITY]


def test_a_wait_is_rounded_up_to_a_nanosecond() -> None:
    wait_ns = TokenBucket(7, 100, now_ns=0, level_micro=0).wait_ns(1, 0)
    assert (wait_ns, type(wait_ns)) == (8_571_428_572, int), "the seventh part of a minute"


def test_a_correction_refills_up_to_now_first(bucket: TokenBucket) -> None:
    bucket.charge(CAPACITY)
    bucket.correct(ONE, 3 * S)
    assert bucket.level_micro(3 * S) == 0
    bucket.correct(-2 * ONE, 6 * S)
    assert bucket.level_micro(6 * S) == 3 * ONE


def test_more_than_the_capacity_fits_when_full_and_leaves_a_debt(bucket: TokenBucket) -> None:
    bucket.charge(1)
    assert not bucket.fits(12 * ONE, 0)
    bucket.correct(-1, 0)
    assert bucket.fits(12 * ONE, 0)
    bucket.charge(12 * ONE)
    assert bucket.level_micro(0) == -7 * ONE
    assert bucket.wait_ns(ONE, 0) == 8 * 3 * S
    assert bucket.wait_ns(12 * ONE, 0) == 12 * 3 * S


def test_the_level_can_be_limited_but_not_raised(bucket: TokenBucket) -> None:
    bucket.limit_level(2 * ONE, 0)
    assert bucket.level_micro(0) == 2 * ONE
    bucket.limit_level(3 * ONE, 0)
    assert bucket.level_micro(0) == 2 * ONE
    assert bucket.level_micro(3 * S) == 3 * ONE, "and is refilled as before"


def test_the_level_can_be_set_so_that_it_is_full_after_a_time(bucket: TokenBucket) -> None:
    bucket.full_in(6 * S, S)
    assert bucket.level_micro(S) == CAPACITY - 2 * ONE
    assert bucket.level_micro(7 * S) == CAPACITY
    odd = TokenBucket(7, 100, now_ns=0)
    odd.full_in(10 * S, 0)
    assert (odd.level_micro(0), type(odd.level_micro(0))) == (99, int)
    bucket.full_in(0, 0)
    assert bucket.level_micro(0) == CAPACITY, "a clock that went back changes nothing"


def test_a_smaller_capacity_cuts_the_level_a_larger_one_leaves_room(bucket: TokenBucket) -> None:
    bucket.change(RATE, 2 * ONE, 0)
    assert bucket.level_micro(0) == 2 * ONE
    bucket.change(2 * RATE, CAPACITY, 0)
    assert bucket.level_micro(0) == 2 * ONE
    assert bucket.wait_ns(3 * ONE, 0) == 1.5 * S


def test_giving_back_up_to_full_forgets_the_carry() -> None:
    bucket = TokenBucket(20_000_000, 5_000_000, 0)
    bucket.charge(1_000_000)
    bucket.level_micro(1)  # carries a fraction of a micro-unit
    bucket.correct(-1_000_000, 1)
    bucket.charge(5_000_000)
    assert bucket.wait_ns(1_000_000, 1) == 3_000_000_000


def test_a_look_at_a_time_that_is_past_brings_nothing_back() -> None:
    bucket = TokenBucket(60, 100, now_ns=0, level_micro=0)
    assert bucket.fits(10, 10 * S)
    assert not bucket.fits(11, 5 * S)
    assert not bucket.fits(11, 10 * S), "these ten seconds have been counted"


@pytest.mark.parametrize(("micro", "refill_ns"), [(90, 0), (100, 10 * S), (101, 11 * S), (300, 210 * S)])
def test_the_time_that_much_takes_to_come_is_not_bounded_by_the_capacity(micro: int, refill_ns: int) -> None:
    assert TokenBucket(60, 100, now_ns=0, level_micro=90).refill_ns(micro, 0) == refill_ns


def test_a_cost_that_fits_now_does_not_wait() -> None:
    assert [TokenBucket(60, 100, 0, level_micro=50).wait_ns(micro, 0) for micro in (49, 50)] == [0, 0]


def test_that_time_is_rounded_up_to_a_nanosecond() -> None:
    refill_ns = TokenBucket(7, 100, now_ns=0, level_micro=0).refill_ns(1, 0)
    assert (refill_ns, type(refill_ns)) == (8_571_428_572, int)


def test_nothing_is_missing_however_much_is_carried() -> None:
    bucket = TokenBucket(7, 100, now_ns=0, level_micro=0)
    bucket.level_micro(8_571_428_571)  # carries nearly a micro-unit
    assert [bucket.refill_ns(micro, 8_571_428_571) for micro in (0, 1)] == [0, 1]


class TestUnbounded:
    """The level as though the bucket held any amount from the moment at which it became full."""

    def test_goes_on_rising_once_the_bucket_is_full(self) -> None:
        bucket = TokenBucket(60 * MICRO, 10 * MICRO, 0, level_micro=8 * MICRO)
        at_s = [bucket.unbounded_micro(second * S) for second in (1, 2, 3, 5)]
        assert at_s == [9 * MICRO, 10 * MICRO, 11 * MICRO, 13 * MICRO]
        assert bucket.level_micro(5 * S) == 10 * MICRO

    def test_goes_by_the_moment_of_becoming_full_however_late_it_is_looked_at(self) -> None:
        bucket = TokenBucket(60 * MICRO, 10 * MICRO, 0, level_micro=8 * MICRO)
        assert bucket.unbounded_micro(5 * S) == 13 * MICRO

    def test_begins_again_when_something_was_taken(self) -> None:
        bucket = TokenBucket(60 * MICRO, 10 * MICRO, 0)
        bucket.charge(MICRO)
        assert bucket.unbounded_micro(3 * S) == 12 * MICRO

    def test_is_kept_by_what_leaves_a_full_bucket_full(self) -> None:
        bucket = TokenBucket(60 * MICRO, 10 * MICRO, 0)
        now_ns = 3 * S
        bucket.fill(now_ns)
        bucket.correct(-MICRO, now_ns)
        bucket.change(60 * MICRO, 9 * MICRO, now_ns)
        assert bucket.unbounded_micro(now_ns) == 12 * MICRO

    @pytest.mark.parametrize("how", ["filled", "given back", "smaller"])
    def test_begins_where_a_correction_fills_the_bucket(self, how: str) -> None:
        bucket = TokenBucket(60 * MICRO, 10 * MICRO, 0, level_micro=2 * MICRO)
        if how == "filled":
            bucket.fill(S)
        elif how == "given back":
            bucket.correct(-9 * MICRO, S)
        else:
            bucket.change(60 * MICRO, MICRO, S)
        assert bucket.unbounded_micro(2 * S) == bucket.capacity_micro + MICRO
