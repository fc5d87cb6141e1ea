"""A rate that has stood the test: what was let in at it proves that the upstream grants as much."""

from typing import Annotated, Self

from msgspec import Meta, Struct

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.rate_search.rate_bounds import Use

__all__ = ["ProvenRate", "ProvenRateState"]


class ProvenRateState(Struct, frozen=True, array_like=True):
    """A dumped `ProvenRate`: requests as (age, what had been used by then)."""

    per_second: Annotated[float, Meta(ge=0)]
    last: tuple[int, Cost]
    before: tuple[int, Cost]
    first: tuple[int, Cost] | None


class ProvenRate:
    """Follows requests through phases of one rate each. Between two of a phase a bucket gave no more than it held.

    Attributes:
        last_ns: when the last request was sent that was let in, as far as is known.
        last_units: what had been used by then.
        per_second: the highest rate that has been proved, in units a second; 0 for none.
    """

    __slots__ = ("_before", "_first", "last_ns", "last_units", "per_second")

    def __init__(self, now_ns: int) -> None:
        self.per_second = 0.0
        self.last_ns = now_ns
        self.last_units = Cost()
        self._before = (now_ns, Cost())  # that last one
        self._first: tuple[int, Cost] | None = None  # where the phase begins

    def sent(self, used: Cost, now_ns: int) -> None:
        """A request was sent; with it so much has been used in all."""
        self._before = self.last_ns, self.last_units
        self.last_ns, self.last_units = now_ns, used
        if self._first is None:
            self._first = now_ns, used

    def recounted(self, units: Cost, sent_ns: int) -> None:
        """A request that was sent at `sent_ns` has used so much more than was counted; negative: less."""
        if sent_ns <= self.last_ns:
            self.last_units = self.last_units.plus(units)
        self._before = _recounted(self._before, units, sent_ns)
        if self._first is not None:
            self._first = _recounted(self._first, units, sent_ns)

    def changed(self, use: Use) -> None:
        """The rate changes: what the phase has proved, in the dimension of that use, is kept."""
        if self._first is not None and self.last_ns > self._first[0]:
            first_ns, first_units = self._first
            units = self.last_units[use.dimension] - first_units[use.dimension] - use.vague - use.spare
            self.per_second = max(self.per_second, units * NS_PER_SECOND / (self.last_ns - first_ns))
        self._first = self.last_ns, self.last_units

    def refused(self, sent_ns: int) -> None:
        """The request that was sent at that moment was refused: it was none. A phase begins with the next one."""
        self._first = None
        if self.last_ns <= sent_ns:
            self.last_ns, self.last_units = self._before

    def forget(self) -> None:
        """What was proved does not hold any more."""
        self.per_second = 0.0

    def dump(self, now_ns: int) -> ProvenRateState:
        """The state at `now_ns`."""
        last_ns, (before_ns, before_units) = self.last_ns, self._before
        first = None if self._first is None else (now_ns - self._first[0], self._first[1])
        return ProvenRateState(
            self.per_second, (now_ns - last_ns, self.last_units), (now_ns - before_ns, before_units), first
        )

    @classmethod
    def restore(cls, state: ProvenRateState, now_ns: int) -> Self:
        """Continues exactly from a dumped state."""
        (last_ago_ns, last_units), (before_ago_ns, before_units) = state.last, state.before
        proven = cls(now_ns - last_ago_ns)
        proven.per_second, proven.last_units = state.per_second, last_units
        proven._before = now_ns - before_ago_ns, before_units
        proven._first = None if state.first is None else (now_ns - state.first[0], state.first[1])
        return proven


def _recounted(point: tuple[int, Cost], units: Cost, sent_ns: int) -> tuple[int, Cost]:
    at_ns, used = point
    return (at_ns, used.plus(units)) if sent_ns <= at_ns else point
