"""The wait of a client that knows the simulator's state. Pure: time is an argument."""

import math

from claude_simulator.limits.buckets import ROUNDING, Bucket, TokenBucket
from claude_simulator.limits.pool import Pool, needed_level
from claude_simulator.limits.quota import Quota


def seconds_until_fits(quota: Quota, pool: Pool, input_tokens_estimate: int, now_seconds: float) -> float:
    """Time until a request would be admitted, or until the next event that may change that.

    0 means now, infinite never. Outages of only a share of the requests do not count.
    """
    quota.advance(now_seconds)
    waits = [
        quota.blocked_seconds(now_seconds),
        *(
            seconds_until_level(bucket, needed_level(dimension, bucket, input_tokens_estimate), now_seconds)
            for dimension, bucket in pool.buckets.items()
        ),
        pool.ramp_wait_seconds(input_tokens_estimate, now_seconds),
    ]
    return min(max(waits), quota.seconds_until_next_event(now_seconds))


def seconds_until_level(bucket: Bucket, level: float, now_seconds: float) -> float:
    """Time until a level is reached while the present outflow continues; 0 if it is, infinite for never.

    If several windows are needed, it is the time to the end of the first.
    """
    missing = level - bucket.level(now_seconds)
    if missing <= ROUNDING:
        return 0.0
    if not isinstance(bucket, TokenBucket):
        return bucket.seconds_until_full(now_seconds)
    rise_per_second = bucket.limit_per_minute / 60 - bucket.outflow_per_second
    return missing / rise_per_second if rise_per_second > 0 else math.inf
