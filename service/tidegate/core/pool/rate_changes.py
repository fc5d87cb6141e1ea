"""Tells when the rate of a dimension changed, and why; not every moment of a change that goes on and on."""

from collections.abc import Iterable
from typing import Final

from tidegate.core.domain.events import Event, RateChanged
from tidegate.core.limits.dimension_limit import DimensionLimit

__all__ = ["WORTH_TELLING", "RateChanges"]

WORTH_TELLING: Final = 0.1
"""Least share by which a rate changes that moves with every answer, or with time, before anybody hears of it."""


class RateChanges:
    """What was last told of each limit's rate; further news are added to `events`."""

    __slots__ = ("_events", "_limits", "_pool", "_told")

    def __init__(self, pool: str, events: list[Event], limits: Iterable[DimensionLimit]) -> None:
        self._pool = pool
        self._events = events
        self._limits = tuple(limits)
        self._told = [limit.per_minute for limit in self._limits]  # what a pool begins with is no change

    def tell(self, reason: str, least_share: float = 0.0) -> None:
        """Tells of each rate that changed by so much of what was last told; that there is one, or none more, always."""
        told = self._told
        for index, limit in enumerate(self._limits):
            before, after = told[index], limit.per_minute
            if after == before or not (before is None or after is None or abs(after - before) >= least_share * before):
                continue
            told[index] = after
            self._events.append(RateChanged(self._pool, limit.dimension, before, after, reason))
