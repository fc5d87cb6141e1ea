"""The limits of a pool in all three dimensions."""

import math
from collections.abc import Iterator, Sequence
from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.dimension import DIMENSIONS, Cost, Dimension, NsPerUnit, service_time_ns
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.domain.snapshots import DimensionSnapshot
from tidegate.core.leases.output_ahead import OutputAhead
from tidegate.core.limits.dimension_limit import DimensionLimit, DimensionLimitState
from tidegate.core.limits.fixed_window import FixedWindowVotes, FixedWindowVotesState

__all__ = ["PoolLimits", "PoolLimitsState"]

_OUTPUT: Final = DIMENSIONS.index(Dimension.OUTPUT_TOKENS)


class PoolLimitsState(Struct, frozen=True, array_like=True):
    """The dump of a `PoolLimits`, without settings."""

    limits: tuple[DimensionLimitState, DimensionLimitState, DimensionLimitState]
    window_votes: FixedWindowVotesState


class PoolLimits:
    """Three limits that are spent together. `now_ns` is monotonic time.

    Code that changes a limit calls `refresh` afterwards.

    Attributes:
        limited: the known limits by index. A new tuple whenever one of them, or its rate, has changed.
        ns_per_unit: how long a unit takes to refill in each dimension; 0 where nothing is limited.
    """

    __slots__ = ("_all", "_window_votes", "limited", "ns_per_unit")

    def __init__(self) -> None:
        self._window_votes = FixedWindowVotes()
        self._all = tuple(DimensionLimit(dimension, self._window_votes) for dimension in DIMENSIONS)
        self.limited: tuple[tuple[int, DimensionLimit], ...] = ()
        self.ns_per_unit: NsPerUnit = (0.0, 0.0, 0.0)

    def dump(self, now_ns: int) -> PoolLimitsState:
        """The state, for `restore`."""
        requests, input_tokens, output_tokens = (limit.dump(now_ns) for limit in self._all)
        return PoolLimitsState((requests, input_tokens, output_tokens), self._window_votes.dump())

    @classmethod
    def restore(cls, state: PoolLimitsState, now_ns: int) -> Self:
        """Limits that continue from `state`, once they are configured."""
        limits = cls()
        votes = limits._window_votes = FixedWindowVotes.restore(state.window_votes)
        limits._all = tuple(
            DimensionLimit.restore(each, now_ns, dimension, votes)
            for each, dimension in zip(state.limits, DIMENSIONS, strict=True)
        )
        return limits

    def __iter__(self) -> Iterator[DimensionLimit]:
        return iter(self._all)

    def configure(self, settings: PoolSettings, now_ns: int) -> None:
        """Sets or removes the configured limits."""
        for limit in self._all:
            limit.configure(settings.limits.get(limit.dimension), now_ns)

    def refresh(self) -> None:
        """Reads the rates anew."""
        self.limited = tuple((index, limit) for index, limit in enumerate(self._all) if limit.is_limited)
        requests, input_tokens, output_tokens = (NS_PER_MINUTE / (limit.per_minute or math.inf) for limit in self._all)
        self.ns_per_unit = (requests, input_tokens, output_tokens)

    def drain(self, now_ns: int) -> None:
        """Leaves nothing available in any dimension."""
        for limit in self._all:
            limit.drain(now_ns)

    def wait_ns(self, cost: Cost, now_ns: int) -> int:
        """Time until the levels allow this cost."""
        longest_ns = 0  # no `max` here, and none over a generator: each waiter passes here
        for index, limit in self.limited:
            if cost[index] and (wait_ns := limit.wait_ns(cost[index], now_ns)) > longest_ns:
                longest_ns = wait_ns
        return longest_ns

    def wait_behind_ns(self, cost: Cost, ahead: Sequence[float], now_ns: int, outputs: OutputAhead) -> int:
        """Time until the levels allow this cost after so many units were spent before it."""
        longest_ns = 0
        for index, limit in self.limited:
            units, ns_per_unit = cost[index], self.ns_per_unit[index]
            before_ns = round(ahead[index] * ns_per_unit)
            if not (units or before_ns):
                continue
            wait_ns = limit.wait_ns(units, now_ns)
            missing_ns = wait_ns or -limit.spare_ns(units, now_ns)
            if index == _OUTPUT:
                wait_ns = outputs.wait_ns(ahead[0], ahead[index], ns_per_unit, missing_ns, now_ns)
            else:
                wait_ns = before_ns + missing_ns
            longest_ns = max(longest_ns, wait_ns)
        return longest_ns

    def own_wait_ns(self, cost: Cost, now_ns: int) -> int:
        """Time until the configured limits allow this cost."""
        return max((limit.own_wait_ns(cost[i], now_ns) for i, limit in self.limited if cost[i]), default=0)

    def unshared_wait_ns(self, cost: Cost, charged_ns: int, now_ns: int) -> int:
        """Time until this cost fits as if nobody else had used the key since `charged_ns`."""
        waits = (limit.unshared_wait_ns(cost[i], charged_ns, now_ns) for i, limit in self.limited if cost[i])
        return max(waits, default=0)

    def service_time_ns(self, cost: Sequence[float]) -> int:
        """Time in which this cost refills, in the tightest dimension."""
        return service_time_ns(cost, self.ns_per_unit)

    def full_in_ns(self, cost: Cost, *, above: bool = False) -> int:
        """Time in which the smallest bucket that this cost draws on fills.

        `above`: from the level at which the cost has just come to fit.
        """
        return min((limit.full_ns(cost[index] * above) for index, limit in self.limited if cost[index]), default=0)

    def never_fits(self, cost: Cost) -> Dimension | None:
        """The dimension in which this cost is more than the bucket can ever hold."""
        for index, limit in self.limited:
            if cost[index] > (limit.capacity or 0.0):
                return limit.dimension
        return None

    def charge(self, cost: Cost, now_ns: int, overdraw_tokens: int) -> None:
        """Spends this cost, into debt if necessary. The output may become larger by `overdraw_tokens`."""
        for index, limit in self.limited:
            limit.charge(cost[index], now_ns, overdraw_tokens if index == _OUTPUT else 0)

    def snapshot(self, now_ns: int) -> tuple[DimensionSnapshot, ...]:
        """The state of each dimension."""
        return tuple(limit.snapshot(now_ns) for limit in self._all)

    def per_minute(self, now_ns: int) -> list[float | None]:
        """The quota in each dimension: the upstream's limit, or the effective rate where it reports none."""
        return [each.upstream_per_minute or each.effective_per_minute for each in self.snapshot(now_ns)]
