"""Waits of the oracle, compared with traces computed by hand."""

import math

from benchmarks.goodput.oracle_wait import seconds_until_level
from claude_simulator.limits.buckets import TokenBucket, WindowBucket


def token_bucket() -> TokenBucket:
    """One per second."""
    return TokenBucket(limit_per_minute=60, capacity=60, now_seconds=100)


def test_outflow_slows_refill() -> None:
    bucket = token_bucket()
    bucket.take(60, 100)
    bucket.outflow_per_second = 0.75

    assert seconds_until_level(bucket, 10, 108) == 32


def test_a_level_above_a_falling_one_is_never_reached() -> None:
    bucket = token_bucket()
    bucket.outflow_per_second = 3

    assert seconds_until_level(bucket, 40, 110) == 0
    assert seconds_until_level(bucket, 41, 110) == math.inf


def test_a_rounding_error_causes_no_wait() -> None:
    bucket = token_bucket()
    bucket.take(60 - 0.9999999, 100)

    assert seconds_until_level(bucket, 1, 100) == 0


def test_of_several_windows_the_end_of_the_first_is_awaited() -> None:
    bucket = WindowBucket(limit_per_minute=60, capacity=10, now_seconds=100, window_seconds=10)
    bucket.take(35, 104)

    assert seconds_until_level(bucket, 1, 104) == 6
