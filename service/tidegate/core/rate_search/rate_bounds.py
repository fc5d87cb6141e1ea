"""What two refusals measure: between them, a bucket was refilled by exactly what was used."""

from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

from msgspec import Struct

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["Mark", "MarkState", "Measurement", "Use", "bounds", "measure"]

_ROUNDING_SECONDS: Final = 1.0
"""`retry-after` is rounded up to a whole second."""
_WELL_MEASURED: Final = 0.1
"""A measurement that is off by no more is complete; a worse one goes further back."""


class MarkState(Struct, frozen=True, array_like=True):
    """A dumped `Mark`; ages are negative where a moment is still to come."""

    age_ns: int
    units: Cost
    told: bool
    pause_ns: int
    fastest: float
    counted_ago_ns: int


class Mark(NamedTuple):
    """A refusal: when what it lacked was there again, and what had been used by then, with what it needed itself.

    `told` is whether the upstream has said when. The pool paused for `pause_ns`. `fastest` is the highest rate that was
    tried since the refusal before, in units a second of the dimension that is limited. `units` counts the requests that
    were sent until `counted_ns`.
    """

    at_ns: int
    units: Cost
    told: bool = True
    pause_ns: int = 0
    fastest: float = 0.0
    counted_ns: int = 0

    def recounted(self, units: Cost, sent_ns: int) -> "Mark":
        """This refusal, after the use of a request that was sent at `sent_ns` turned out to be larger by `units`."""
        return self._replace(units=self.units.plus(units)) if sent_ns <= self.counted_ns else self

    def dump(self, now_ns: int) -> MarkState:
        """This refusal, with times relative to `now_ns`."""
        at_ns, units, told, pause_ns, fastest, counted_ns = self
        return MarkState(now_ns - at_ns, units, told, pause_ns, fastest, now_ns - counted_ns)

    @classmethod
    def restore(cls, state: MarkState, now_ns: int) -> "Mark":
        """The refusal that was dumped."""
        counted_ns = now_ns - state.counted_ago_ns
        return cls(now_ns - state.age_ns, state.units, state.told, state.pause_ns, state.fastest, counted_ns)


class Use(NamedTuple):
    """Which dimension is asked about, and what is known of its use.

    Its bucket holds `spare` units beside a request; the use between two refusals is known but for `vague` units; the
    rate is about `per_second`.
    """

    dimension: int
    spare: float
    vague: float
    per_second: float


class Measurement(NamedTuple):
    """Rates a second by dimension, and over what they were measured.

    `lately` is how many requests have gone since the newest mark.
    """

    per_second: tuple[float, ...]
    moved: Cost
    seconds: float
    lately: int


def measure(marks: Sequence[Mark], end: Mark, *, shallow: bool) -> Measurement | None:
    """The rates between the newest mark that is far enough back, or else the oldest, and this one; None without any.

    All marks are earlier than `end`. Where nobody said when there was room again, a `shallow` bucket has lost what came
    back in pauses.
    """
    found = None
    paused_ns = 0
    for start in reversed(marks):
        paused_ns += start.pause_ns
        seconds = (end.at_ns - start.at_ns) / NS_PER_SECOND
        moved = end.units.minus(start.units)
        unsure_s = _ROUNDING_SECONDS if end.told else paused_ns / NS_PER_SECOND if shallow else 0.0
        lately = end.units.requests - marks[-1].units.requests
        found = Measurement(tuple(max(0, units) / seconds for units in moved), moved, seconds, lately)
        if unsure_s <= _WELL_MEASURED * seconds:
            break
    return found


def bounds(marks: Sequence[Mark], end: Mark, use: Use) -> tuple[float, float]:
    """Between which figures the rate in one dimension lies, by all marks that agree with the newest; there is one.

    Between two refusals a bucket was refilled by what was used, but for what it held at either end, which is what came
    back within the rounding of the wait, and for what a full bucket has lost. Corrections of estimates that were made
    before may exceed what was used since: then nothing was.

    Returns:
        A lower and an upper bound: finite, 0 at least.
    """
    low, high, fastest, lost_s = 0.0, inf, 0.0, 0.0
    newer = end
    for start in reversed(marks):
        fastest = max(fastest, newer.fastest)
        newer = start
        if not end.told:
            lost_s += max(0.0, start.pause_ns / NS_PER_SECOND - use.spare / use.per_second)
        seconds = (end.at_ns - start.at_ns) / NS_PER_SECOND
        units = max(0, end.units[use.dimension] - start.units[use.dimension])
        rounding_s = _ROUNDING_SECONDS if end.told else 0.0
        least = max((units - use.vague - use.spare) / seconds, (units - use.vague) / (seconds + rounding_s))
        most = (units + use.vague + use.spare) / seconds
        if seconds > rounding_s + lost_s:
            most = min(most, (units + use.vague) / (seconds - rounding_s))
            most = max(most, (units + use.vague) / (seconds - lost_s))
        most = max(most, fastest - use.spare / seconds)  # else it would have been full, and have lost more
        if max(low, least) > min(high, most):
            break
        low, high = max(low, least), min(high, most)
    return low, high
