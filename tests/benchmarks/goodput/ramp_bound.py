"""The most that a ramp limit lets anybody use. Pure: time is an argument."""

from claude_simulator.limits.pool import Pool
from claude_simulator.limits.ramp import RampLimit, RampMeter


class RampBound:
    """A client that, second by second, uses all that the ramp limit and the pool's buckets allow beside competitors.

    It only counts: nothing is taken from the pool. `used` is what it has used so far. While it is shut out it uses
    nothing. What refills while its own bucket is full is lost to it.
    """

    def __init__(self, pool: Pool, limit: RampLimit, now_seconds: float) -> None:
        self.dimension = limit.dimension
        self.used = 0.0
        self._pool = pool
        self._meter = RampMeter(limit, now_seconds)
        self._others = 0.0
        self._lost = 0.0

    def step(self, now_seconds: float, *, is_shut_out: bool = False) -> None:
        """Use what may be used in this second; to be called once in each."""
        others = self._pool.others.charged(now_seconds)[self.dimension]
        self._meter.record(others - self._others, now_seconds)
        self._others = others
        left = self._pool.attainable(now_seconds)[self.dimension] - self._lost - self.used
        overflow = max(0.0, left - self._pool.buckets[self.dimension].capacity)
        self._lost += overflow
        left -= overflow
        use = 0.0 if is_shut_out else max(0.0, min(left, self._meter.room(now_seconds)))
        self._meter.record(use, now_seconds)
        self.used += use
