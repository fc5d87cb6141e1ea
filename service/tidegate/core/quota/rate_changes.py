"""Reports changes of rates as events, but not every small step of a rate that changes continuously."""

from collections.abc import Iterable
from typing import Final, Self

from tidegate.core.domain.events import Event, RateChanged
from tidegate.core.limits.dimension_limit import DimensionLimit

__all__ = ["NOTABLE_SHARE", "RateChanges", "RateChangesState"]

NOTABLE_SHARE: Final = 0.1
"""The least share by which a rate that moves with every answer, or with time, has to change before it is reported."""

RateChangesState = tuple[float | None, float | None, float | None]
"""The dump of a `RateChanges`: the rate per minute that was last reported of each dimension."""


class RateChanges:
    """Remembers the rate of each limit that was last reported. Adds changes to `events`."""

    __slots__ = ("_events", "_limits", "_pool", "_reported")

    def __init__(self, pool: str, events: list[Event], limits: Iterable[DimensionLimit]) -> None:
        self._pool = pool
        self._events = events
        self._limits = tuple(limits)
        self._reported = [limit.per_minute for limit in self._limits]  # the first rates of a pool are no change

    def dump(self) -> RateChangesState:
        """The state, for `restore`."""
        requests, input_tokens, output_tokens = self._reported
        return requests, input_tokens, output_tokens

    @classmethod
    def restore(cls, state: RateChangesState, pool: str, events: list[Event], limits: Iterable[DimensionLimit]) -> Self:
        """Continues from `state`."""
        changes = cls(pool, events, limits)
        changes._reported = list(state)
        return changes

    def report(self, reason: str, least_share: float = 0.0) -> None:
        """Reports each rate that differs from the last reported one by at least `least_share`.

        A limit that comes into being, or ends, is always reported.
        """
        reported = self._reported
        for index, limit in enumerate(self._limits):
            before, after = reported[index], limit.per_minute
            if after == before or not (before is None or after is None or abs(after - before) >= least_share * before):
                continue
            reported[index] = after
            self._events.append(RateChanged(self._pool, limit.dimension, before, after, reason))
