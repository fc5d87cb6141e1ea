"""What others take from the same quota, seen as a slope.

A bucket that only we use gains, apart from our own charges, exactly its rate: `remaining + everything we were charged`
rises in a straight line of that slope. Whatever it rises less by, somebody else takes. The slope is a least-squares fit
over the last seconds; only what exceeds its own uncertainty counts, for heavy-tailed requests look like a competitor
otherwise.
"""

from collections import deque
from math import sqrt
from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["CompetingTraffic", "CompetingTrafficState", "Competitor", "CompetitorState"]

_WINDOW_NS: Final = 8 * NS_PER_SECOND
"""Long enough for a line through a few answers, short enough to notice within ten seconds that a competitor came."""
_ORIGIN_NS: Final = 60 * NS_PER_SECOND
"""The sums are taken anew from a later origin after this time: far from it, squares lose the digits that matter."""
_LEAST_POINTS: Final = 5
_LEAST_SPAN_NS: Final = 2 * NS_PER_SECOND
_STANDARD_ERRORS: Final = 1.5
_RETURN_NS: Final = 2 * NS_PER_SECOND
"""What others leave is claimed bit by bit, with this time constant: who sees the same thing, and claims it at once as
well, would leave it again a moment later, and none of us would ever find a share."""
_SMALLEST_SHARE: Final = 0.02
"""A competitor who takes less than this share of the rate is left to the margin."""
_MOST_TAKEN: Final = 0.8
"""However much others take, a fifth of the rate is claimed: else whoever came first would keep it all."""
_DUMPED_POINTS: Final = 64
"""A line through so many points tells nearly as much as one through the 400 that a busy pool may keep."""


class CompetingTrafficState(Struct, frozen=True, array_like=True):
    """A dumped `CompetingTraffic`: points as (age, units), and the sums, counted from an origin."""

    points: tuple[tuple[int, float], ...]
    origin_ago_ns: int
    origin_units: float
    sums: tuple[float, float, float, float, float]


class CompetitorState(Struct, frozen=True, array_like=True):
    """A dumped `Competitor`."""

    per_second: float
    seen_ago_ns: int
    at_answer: CompetingTrafficState
    at_admission: CompetingTrafficState


class CompetingTraffic:
    """Estimates the rate at which others take, from reports of what remains in the last seconds; units a second."""

    __slots__ = ("_origin", "_points", "_sum_t", "_sum_tt", "_sum_ty", "_sum_y", "_sum_yy")

    def __init__(self) -> None:
        self._points: deque[tuple[int, float]] = deque()  # time, and what remained with all charges
        self._start_from((0, 0.0))

    def clear(self) -> None:
        """Forgets everything: the line has a kink here, such as a full bucket or another limit."""
        self._points.clear()

    def add(self, at_ns: int, remaining: float, charged: float) -> None:
        """A report: what remained at that moment, and all that we had been charged until then, in units."""
        point = (at_ns, remaining + charged)
        while self._points and self._points[0][0] < at_ns - _WINDOW_NS:
            self._weigh(self._points.popleft(), -1)
        # Only now: seen from a point that is hours later, the squares of old ones would leave nothing but their errors.
        if not self._points or at_ns - self._origin[0] > _ORIGIN_NS:
            self._start_from(point)
        self._points.append(point)
        self._weigh(point, 1)

    def taken_per_second(self, rate_per_second: float) -> float:
        """How much others take, between 0 and the rate; 0 as long as it cannot be told from chance."""
        count = len(self._points)
        if count < _LEAST_POINTS or self._points[-1][0] - self._points[0][0] < _LEAST_SPAN_NS:
            return 0.0
        spread_t = self._sum_tt - self._sum_t**2 / count
        slope = (self._sum_ty - self._sum_t * self._sum_y / count) / spread_t
        residual = max(0.0, self._sum_yy - self._sum_y**2 / count - slope**2 * spread_t)
        error = sqrt(residual / (count - 2) / spread_t)
        taken = rate_per_second - (slope + _STANDARD_ERRORS * error)
        return 0.0 if taken < _SMALLEST_SHARE * rate_per_second else min(taken, rate_per_second)

    def dump(self, now_ns: int) -> CompetingTrafficState:
        """The state at `now_ns`; of more than 64 points, an even selection with the newest one."""
        points = list(self._points)
        if len(points) > _DUMPED_POINTS:
            selection = CompetingTraffic()
            selection._points.extend(points[:: -(len(points) // _DUMPED_POINTS + 1)][::-1])
            selection._start_from(selection._points[0])
            return selection.dump(now_ns)
        return CompetingTrafficState(
            tuple((now_ns - at_ns, units) for at_ns, units in points),
            now_ns - self._origin[0],
            self._origin[1],
            (self._sum_t, self._sum_y, self._sum_tt, self._sum_ty, self._sum_yy),
        )

    @classmethod
    def restore(cls, state: CompetingTrafficState, now_ns: int) -> Self:
        """Continues exactly from a dumped state; after a selection, with a somewhat larger standard error."""
        line = cls()
        line._points.extend((now_ns - age_ns, units) for age_ns, units in state.points)
        line._origin = now_ns - state.origin_ago_ns, state.origin_units
        line._sum_t, line._sum_y, line._sum_tt, line._sum_ty, line._sum_yy = state.sums
        return line

    def _start_from(self, origin: tuple[int, float]) -> None:
        """Sums up all points with times and units counted from this one."""
        self._origin = origin
        self._sum_t = self._sum_y = self._sum_tt = self._sum_ty = self._sum_yy = 0.0
        for point in self._points:
            self._weigh(point, 1)

    def _weigh(self, point: tuple[int, float], sign: int) -> None:
        t, y = (point[0] - self._origin[0]) / NS_PER_SECOND, point[1] - self._origin[1]
        self._sum_t += sign * t
        self._sum_y += sign * y
        self._sum_tt += sign * t * t
        self._sum_ty += sign * t * y
        self._sum_yy += sign * y * y


class Competitor:
    """What others take, whether figures belong to the moment of the answer or of the admission.

    Attributes:
        per_second: units that others take a second; 0 while nobody is seen.
    """

    __slots__ = ("_at_admission", "_at_answer", "_seen_ns", "per_second")

    def __init__(self) -> None:
        self.per_second = 0.0
        self._seen_ns = 0
        self._at_answer = CompetingTraffic()
        self._at_admission = CompetingTraffic()

    def clear(self) -> None:
        """Forgets everything: what remains says nothing about others now."""
        self.per_second = 0.0
        self._at_answer.clear()
        self._at_admission.clear()

    def left(self, per_minute: float) -> float:
        """What they leave of a rate: a fifth at least."""
        return per_minute - min(self.per_second * 60, per_minute * _MOST_TAKEN)

    def add(self, remaining: int, charged: int, now_ns: int, *, charged_then: float, sent_ns: int, rate: float) -> None:
        """A report to a request sent at `sent_ns`, and all we had been charged by now and by then; `rate` a second."""
        self._at_answer.add(now_ns, remaining, charged)
        self._at_admission.add(sent_ns, remaining, charged_then)
        # The reading that is wrong sees our own requests as somebody else's.
        seen = min(self._at_answer.taken_per_second(rate), self._at_admission.taken_per_second(rate))
        elapsed_ns, self._seen_ns = now_ns - self._seen_ns, now_ns
        if seen < self.per_second:
            seen += (self.per_second - seen) * max(0.0, 1.0 - elapsed_ns / _RETURN_NS)
        self.per_second = 0.0 if seen < _SMALLEST_SHARE * rate else seen

    def dump(self, now_ns: int) -> CompetitorState:
        """The state at `now_ns`, with at most 64 reports."""
        at_answer, at_admission = self._at_answer.dump(now_ns), self._at_admission.dump(now_ns)
        return CompetitorState(self.per_second, now_ns - self._seen_ns, at_answer, at_admission)

    @classmethod
    def restore(cls, state: CompetitorState, now_ns: int) -> Self:
        """Continues from a dumped state: exactly, unless that has only a selection of the reports."""
        competitor = cls()
        competitor.per_second, competitor._seen_ns = state.per_second, now_ns - state.seen_ago_ns
        competitor._at_answer = CompetingTraffic.restore(state.at_answer, now_ns)
        competitor._at_admission = CompetingTraffic.restore(state.at_admission, now_ns)
        return competitor
