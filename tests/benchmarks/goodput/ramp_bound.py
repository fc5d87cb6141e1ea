"""The most that a client can use under a ramp limit. Pure: time is an argument."""

from claude_simulator.limits.pool import Pool
from claude_simulator.limits.ramp import RampLimit, RampMeter


class RampBound:
    """A hypothetical client that uses, in each second, all that the ramp limit and the pool's buckets allow.

    Nothing is taken from the pool. `used` is its usage so far. It uses nothing while it is shut out, and loses what is
    refilled while its bucket is full.
    """

    def __init__(self, pool: Pool, limit: RampLimit, now_seconds: float) -> None:
        self.dimension = limit.dimension
        self.used = 0.0
        self._pool = pool
        self._meter = RampMeter(limit, now_seconds)
        self._others = 0.0
        self._lost = 0.0

    def step(self, now_seconds: float, attainable: float, *, is_shut_out: bool = False) -> None:
        """Use what may be used in this second, of what is attainable until now. To be called once per second."""
        others = self._pool.others.charged(now_seconds)[self.dimension]
        self._meter.record(others - self._others, now_seconds)
        self._others = others
        left = attainable - self._lost - self.used
        overflow = max(0.0, left - self._pool.buckets[self.dimension].capacity)
        self._lost += overflow
        left -= overflow
        use = 0.0 if is_shut_out else max(0.0, min(left, self._meter.room(now_seconds)))
        self._meter.record(use, now_seconds)
        self.used += use
