"""The depth of a bucket that was full at first and empty at the first 429: 150 requests in 10 s."""

import pytest

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.rate_search.bucket_depth import BucketDepth
from tidegate.core.rate_search.rate_bounds import RateLimitHit

BEGAN_NS = 5 * S


@pytest.fixture
def depth() -> BucketDepth:
    depth = BucketDepth(BEGAN_NS)
    depth.first = RateLimitHit(BEGAN_NS + 10 * S, Cost(150, 3_000), counted_ns=BEGAN_NS + 9 * S)
    return depth


def test_it_is_what_was_used_beyond_the_refill_and_at_least_a_second(depth: BucketDepth) -> None:
    assert [depth.seconds(0, rate) for rate in (10.0, 12.0, 14.0)] == [5, 2.5, 1]
    assert depth.seconds(1, 200.0) == 5


def test_it_is_a_second_until_something_was_used() -> None:
    depth = BucketDepth(BEGAN_NS)
    assert depth.first == RateLimitHit(BEGAN_NS, Cost(), counted_ns=BEGAN_NS)
    assert depth.seconds(0, 10.0) == 1


@pytest.mark.parametrize(("per_second", "is_shallow"), [(10.5, False), (10.8, True)])
def test_less_than_four_seconds_are_shallow(depth: BucketDepth, per_second: float, *, is_shallow: bool) -> None:
    assert depth.is_shallow(0, per_second) is is_shallow


def test_another_bound_of_shallow_buckets() -> None:
    depth = BucketDepth(BEGAN_NS, shallow_seconds=6)
    depth.first = RateLimitHit(BEGAN_NS + 10 * S, Cost(150))
    assert depth.is_shallow(0, 10.0)


def test_a_depth_is_kept_until_it_is_released(depth: BucketDepth) -> None:
    depth.fix(0, 10.0)
    assert depth.seconds(0, 12.0) == 5
    depth.release()
    assert depth.seconds(0, 12.0) == 2.5


def test_corrections_of_use_before_the_429_count(depth: BucketDepth) -> None:
    depth.recount(Cost(20), BEGAN_NS + 9 * S + 1)
    assert depth.seconds(0, 10.0) == 5
    depth.recount(Cost(20), BEGAN_NS + 9 * S)
    assert depth.seconds(0, 10.0) == 7


@pytest.mark.parametrize("is_fixed", [False, True])
def test_a_restored_depth_is_the_same(depth: BucketDepth, *, is_fixed: bool) -> None:
    if is_fixed:
        depth.fix(0, 10.0)
    state = depth.dump(20 * S)
    restored = BucketDepth.restore(state, 900 * S)
    assert restored.dump(900 * S) == state
    assert [restored.seconds(0, rate) for rate in (10.0, 12.0)] == [depth.seconds(0, rate) for rate in (10.0, 12.0)]
    assert restored.is_shallow(0, 10.8)
