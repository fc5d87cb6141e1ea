"""The highest rate at which requests were admitted: the upstream grants at least that much."""

from typing import Annotated, Self

from msgspec import Meta, Struct

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.rate_search.rate_bounds import Use

__all__ = ["ProvenRate", "ProvenRateState"]


class ProvenRateState(Struct, frozen=True, array_like=True):
    """The dump of a `ProvenRate`: requests as (age, all use until then)."""

    per_second: Annotated[float, Meta(ge=0)]
    last: tuple[int, Cost]
    before: tuple[int, Cost]
    first: tuple[int, Cost] | None


class ProvenRate:
    """Follows requests through phases of one rate each.

    Between the first and the last request of a phase the bucket gave what was refilled, and at most what it held:

        proven = (use between both - what the bucket may have held) / time between both

    Attributes:
        last_ns: when the last request was sent that was not refused, as far as is known.
        last_units: all use until then.
        per_second: the highest proven rate, in units per second; 0 for none.
    """

    __slots__ = ("_before", "_first", "last_ns", "last_units", "per_second")

    def __init__(self, now_ns: int) -> None:
        self.per_second = 0.0
        self.last_ns = now_ns
        self.last_units = Cost()
        self._before = (now_ns, Cost())  # the request before the last one
        self._first: tuple[int, Cost] | None = None  # the first request of the phase

    def dump(self, now_ns: int) -> ProvenRateState:
        """The state, for `restore`."""
        before_ns, before_units = self._before
        last, before = (now_ns - self.last_ns, self.last_units), (now_ns - before_ns, before_units)
        first = None if self._first is None else (now_ns - self._first[0], self._first[1])
        return ProvenRateState(self.per_second, last, before, first)

    @classmethod
    def restore(cls, state: ProvenRateState, now_ns: int) -> Self:
        """Continues exactly from `state`."""
        (last_ago_ns, last_units), (before_ago_ns, before_units) = state.last, state.before
        restored = cls(now_ns - last_ago_ns)
        restored.per_second, restored.last_units = state.per_second, last_units
        restored._before = now_ns - before_ago_ns, before_units
        restored._first = None if state.first is None else (now_ns - state.first[0], state.first[1])
        return restored

    def sent(self, used: Cost, now_ns: int) -> None:
        """A request was sent. `used` is all use until now, including it."""
        self._before = self.last_ns, self.last_units
        self.last_ns, self.last_units = now_ns, used
        if self._first is None:
            self._first = now_ns, used

    def recounted(self, units: Cost, sent_ns: int) -> None:
        """The use of a request that was sent at `sent_ns` turned out to be larger by `units`; negative: smaller."""
        if sent_ns <= self.last_ns:
            self.last_units = self.last_units.plus(units)
        self._before = _recounted(self._before, units, sent_ns)
        if self._first is not None:
            self._first = _recounted(self._first, units, sent_ns)

    def changed(self, use: Use) -> None:
        """The rate changes. The rate that this phase has proven, in the dimension of `use`, is kept."""
        if self._first is not None and self.last_ns > self._first[0]:
            first_ns, first_units = self._first
            units = self.last_units[use.dimension] - first_units[use.dimension] - use.vague - use.spare
            self.per_second = max(self.per_second, units * NS_PER_SECOND / (self.last_ns - first_ns))
        self._first = self.last_ns, self.last_units

    def refused(self, sent_ns: int) -> None:
        """The request that was sent at `sent_ns` was refused, so it does not count. The next one begins a phase."""
        self._first = None
        if self.last_ns <= sent_ns:
            self.last_ns, self.last_units = self._before

    def forget(self) -> None:
        """Forgets the proven rate: the limit is another one."""
        self.per_second = 0.0


def _recounted(point: tuple[int, Cost], units: Cost, sent_ns: int) -> tuple[int, Cost]:
    at_ns, used = point
    return (at_ns, used.plus(units)) if sent_ns <= at_ns else point
