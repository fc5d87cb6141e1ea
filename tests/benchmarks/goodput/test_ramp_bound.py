"""The bound on usage under a ramp limit, compared with a trace computed by hand."""

from benchmarks.goodput.ramp_bound import RampBound
from claude_simulator.limits.pool import Pool
from claude_simulator.limits.pool_limits import PoolLimits
from claude_simulator.limits.ramp import RampLimit


def test_usage_grows_to_the_limit_of_the_bucket() -> None:
    """100 in the first minute, 200 in the second, then the limit of 240 a minute, less 12 of a competitor.

    The bucket was full again before each of the first three minutes was over: it holds 240 when the third begins.
    """
    limits = PoolLimits(requests_per_minute=240, input_tokens_per_minute=1_000, output_tokens_per_minute=1_000)
    pool = Pool(limits.per_minute(), now_seconds=0)
    bound = RampBound(pool, RampLimit(floor_per_minute=100, growth=2), 0)
    used = []
    for second in range(300):
        if second == 130:
            for _ in range(12):
                pool.finish(pool.charge(pool.others, 1, second), second)
        bound.step(second, 240 + 4 * second - 12 * (second >= 130))
        used.append(bound.used)

    assert (used[0], used[59], used[60], used[119]) == (100, 100, 300, 300)
    assert used[120] == 300 + 240
    assert used[299] == 540 + 179 * 4 - 12
