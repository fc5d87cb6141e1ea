"""The start of a request that does not fit yet: what may be spent before without delaying it."""

from typing import Protocol

from tidegate.core.dimension import MICRO, Cost
from tidegate.core.limit import DimensionLimit

__all__ = ["Reservation"]


class Levels(Protocol):
    """What a reservation asks a quota for."""

    limited: tuple[tuple[int, DimensionLimit], ...]

    def level_wait_ns(self, cost: Cost, now_ns: int) -> int:
        """How long until the levels allow this much."""
        ...


class Reservation:
    """The start of a request that does not fit yet, in `in_ns`, and what it leaves to others until then."""

    __slots__ = ("_cost", "_now_ns", "_quota", "_spare", "in_ns")

    def __init__(self, quota: Levels, cost: Cost, now_ns: int) -> None:
        self.in_ns = quota.level_wait_ns(cost, now_ns)
        self._quota = quota
        self._cost = cost
        self._now_ns = now_ns
        self._spare = self._spare_after(0)

    def wait_ns(self, cost: Cost) -> int | None:
        """How long until another cost may be spent; None if that would postpone the start."""
        if not _leaves(cost, self._spare):
            return None
        wait_ns = self._quota.level_wait_ns(cost, self._now_ns)
        # What is spare becomes less while a bucket is full.
        if 0 < wait_ns < self.in_ns and not _leaves(cost, self._spare_after(wait_ns)):
            return None
        return wait_ns

    def _spare_after(self, wait_ns: int) -> list[tuple[int, int]]:
        """What may be spent then of each dimension in which that matters, in micro-units."""
        return [
            (index, spare)
            for index, limit in self._quota.limited
            if self._cost[index]
            and (spare := limit.spare_micro(self._cost[index], self.in_ns, self._now_ns, wait_ns)) is not None
        ]


def _leaves(cost: Cost, spares: list[tuple[int, int]]) -> bool:
    for index, spare in spares:  # noqa: SIM110 - a generator costs more than all of it
        if cost[index] * MICRO > spare:
            return False
    return True
