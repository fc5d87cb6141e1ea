"""The most that a client could have used of a scenario's limits. Pure: time is an argument."""

import math

from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.pool import capacity_of
from claude_simulator.limits.pool_limits import PoolLimits, Refill
from claude_simulator.limits.quota import Quota
from claude_simulator.scenarios.scenario import Outage, Scenario


class AttainableUsage:
    """The grants of each family's limits, less the use of competitors and what nobody could use.

    Refill during a complete outage can be used later only as far as it pays a debt or fits into the bucket: the rest is
    not counted. Create it before the quota advances: it schedules events at the start and end of outages.
    """

    def __init__(self, quota: Quota, scenario: Scenario, start_seconds: float) -> None:
        self._quota = quota
        self._scenario = scenario
        self._start_seconds = start_seconds
        self._lost = {family: dict.fromkeys(Dimension, 0.0) for family in quota.pools}
        for outage in scenario.outages:
            if outage.share == 1 and outage.stop_seconds is not None:
                self._subtract_lost_refill(outage, start_seconds + outage.stop_seconds)

    def until(self, family: str, now_seconds: float) -> dict[Dimension, float]:
        """The attainable usage from the start to now, by dimension. The quota must have advanced to now."""
        granted = self._granted(family, now_seconds)
        used_by_others = self._quota.pools[family].others.charged(now_seconds)
        lost = self._lost[family]
        return {dimension: granted[dimension] - lost[dimension] - used_by_others[dimension] for dimension in Dimension}

    def _granted(self, family: str, now_seconds: float) -> dict[Dimension, float]:
        limits = self._scenario.limits_by_family.get(family, self._scenario.limits)
        changes: dict[Dimension, list[tuple[float, int]]] = {dimension: [] for dimension in Dimension}
        for change in sorted(self._scenario.changes, key=lambda change: change.at_seconds):
            if change.family in (None, family):
                for dimension, limit in change.per_minute().items():
                    changes[dimension].append((change.at_seconds, limit))
        elapsed = now_seconds - self._start_seconds
        count = _granted_continuously if limits.refill is Refill.CONTINUOUS else _granted_in_windows
        return {
            dimension: count(limits, limit, changes[dimension], elapsed)
            for dimension, limit in limits.per_minute().items()
        }

    def _subtract_lost_refill(self, outage: Outage, stop_seconds: float) -> None:
        debts: dict[tuple[str, Dimension], float] = {}
        granted_before: dict[str, dict[Dimension, float]] = {}

        def begin(now_seconds: float) -> None:
            for family, pool in self._quota.pools.items():
                granted_before[family] = self._granted(family, now_seconds)
                for dimension, bucket in pool.buckets.items():
                    debts[family, dimension] = max(0.0, -bucket.level(now_seconds))

        def end(now_seconds: float) -> None:
            for family, pool in self._quota.pools.items():
                granted = self._granted(family, now_seconds)
                for dimension, bucket in pool.buckets.items():
                    refilled = granted[dimension] - granted_before[family][dimension]
                    usable = debts[family, dimension] + bucket.capacity
                    self._lost[family][dimension] += max(0.0, refilled - usable)

        self._quota.schedule(self._start_seconds + outage.start_seconds, begin)
        self._quota.schedule(stop_seconds, end)


def _granted_continuously(
    limits: PoolLimits, limit_per_minute: int, changes: list[tuple[float, int]], elapsed_seconds: float
) -> float:
    """A full bucket and its refill, whether or not it fits into the bucket."""
    granted = capacity_of(limit_per_minute, limits.enforcement_seconds)
    since_seconds = 0.0
    for at_seconds, new_limit in changes:
        if at_seconds > elapsed_seconds:
            break
        granted += (at_seconds - since_seconds) * limit_per_minute / 60
        since_seconds, limit_per_minute = at_seconds, new_limit
    return granted + (elapsed_seconds - since_seconds) * limit_per_minute / 60


def _granted_in_windows(
    limits: PoolLimits, limit_per_minute: int, changes: list[tuple[float, int]], elapsed_seconds: float
) -> float:
    """The capacity at the start of each window, and increases of the capacity within windows."""
    window_seconds = limits.enforcement_seconds
    capacity = capacity_of(limit_per_minute, window_seconds)
    granted, windows = capacity, 1
    for at_seconds, new_limit in [*changes, (math.inf, limit_per_minute)]:
        begun = 1 + math.floor(min(at_seconds, elapsed_seconds) / window_seconds)
        granted += (begun - windows) * capacity
        windows = begun
        if at_seconds > elapsed_seconds:
            break
        new_capacity = capacity_of(new_limit, window_seconds)
        granted += max(0.0, new_capacity - capacity)
        capacity = new_capacity
    return granted
