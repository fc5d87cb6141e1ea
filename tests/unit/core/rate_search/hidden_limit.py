"""An upstream that tells nothing but 429s, and somebody who asks it as fast as a search allows. No clock is real."""

from collections.abc import Callable
from math import ceil
from typing import Final

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.rate_search.rate_search import RateSearch
from unit.core.rate_search.search_steps import ns

ROUND_TRIP_S: Final = 0.05


class HiddenLimit:
    """A token bucket in one dimension, full at first; requests follow each other at the rate that is searched.

    After a 429 nobody asks for `pause_s`, or for as long as the upstream says, if that is more.

    Attributes:
        search: the one that is asked.
        refused_s: when there was a 429.
        sent: the moment and size of each request that was let in.
    """

    def __init__(
        self,
        per_second: float,
        capacity: float,
        *,
        dimension: int = 0,
        told: bool = True,
        pause_s: float = 1.0,
        size: Callable[[int], Cost] = lambda _: Cost(1),
    ) -> None:
        self.search = RateSearch(ns(0))
        self.per_second, self.capacity = per_second, capacity
        self.refused_s: list[float] = []
        self.sent: list[tuple[float, int]] = []
        self._dimension, self._told, self._size, self._least_pause_s = dimension, told, size, pause_s
        self._level, self._now_s = capacity, 0.0

    def play(self, until_s: float) -> "HiddenLimit":
        """Asks until that moment."""
        while self._now_s < until_s:
            cost = self._size(len(self.sent))
            units = min(cost[self._dimension], self.capacity)
            self.search.sent(cost, self._ns())
            if self._level < units:
                self._refuse(cost, units)
                continue
            self._level -= units
            self.sent.append((self._now_s, cost[self._dimension]))
            self.search.corrected(Cost(0, 0, cost.output_tokens))
            self.search.ended()
            ((index, rate),) = self._asked()
            self._pass(max(cost[index], 1) / rate)
        return self

    def rate(self) -> float:
        """What is tried now, in whatever dimension."""
        return self._asked()[0][1]

    def dimension(self) -> int:
        """The one that is believed to be limited."""
        return self._asked()[0][0]

    def share(self, from_s: float, to_s: float) -> float:
        """What was used of what came back in that time."""
        used = sum(units for at_s, units in self.sent if from_s <= at_s < to_s)
        return used / ((to_s - from_s) * self.per_second)

    def refusals(self, from_s: float, to_s: float) -> int:
        """How many 429s there were in that time."""
        return sum(from_s <= at_s < to_s for at_s in self.refused_s)

    def _refuse(self, cost: Cost, units: float) -> None:
        sent_ns = self._ns()
        retry_after_s = ceil((units - self._level) / self.per_second)
        pause_s = max(self._least_pause_s, retry_after_s)
        self.refused_s.append(self._now_s)
        self._pass(ROUND_TRIP_S)
        self.search.corrected(Cost().minus(cost._replace(output_tokens=0)))
        self.search.ended()
        self.search.refused(
            sent_ns,
            self._ns(),
            retry_after_ns=retry_after_s * NS_PER_SECOND if self._told else None,
            pause_ns=round(pause_s * NS_PER_SECOND),
            needed=cost,
        )
        self._pass(pause_s)

    def _pass(self, seconds: float) -> None:
        self._now_s += seconds
        self._level = min(self.capacity, self._level + seconds * self.per_second)

    def _asked(self) -> list[tuple[int, float]]:
        rates = self.search.per_second(self._ns())
        return [(index, rate) for index, rate in enumerate(rates) if rate is not None]

    def _ns(self) -> int:
        return ns(self._now_s)
