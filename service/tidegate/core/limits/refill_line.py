"""The observed refill rate of a bucket: a regression line through recent reports."""

from collections import deque
from math import sqrt
from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["SMALLEST_SHARE", "RefillLine", "RefillLineState"]

_WINDOW_NS: Final = 8 * NS_PER_SECOND
"""Long enough for a line through a few reports, short enough to notice other traffic within ten seconds."""
_ORIGIN_NS: Final = 60 * NS_PER_SECOND
"""After this time the sums are computed from a later origin: far from it, squares lose the digits that matter."""
_LEAST_POINTS: Final = 5
_LEAST_SPAN_NS: Final = 2 * NS_PER_SECOND
_STANDARD_ERRORS: Final = 1.5
"""Requests with heavy-tailed sizes scatter. Without this allowance their scatter would look like other traffic."""
SMALLEST_SHARE: Final = 0.02
"""Other traffic below this share of the rate is ignored: the margin of the level covers it."""
_DUMPED_POINTS: Final = 64
"""A line through this many points is nearly as exact as one through the 400 that a busy pool may keep."""


class RefillLineState(Struct, frozen=True, array_like=True):
    """The dump of a `RefillLine`: points as (age, units), and the sums, counted from an origin."""

    points: tuple[tuple[int, float], ...]
    origin_ago_ns: int
    origin_units: float
    sums: tuple[float, float, float, float, float]


class RefillLine:
    """Estimates how much other clients use per second.

    A bucket that only we use gains its rate, apart from our own charges: `remaining + all our charges` rises in a
    straight line with that slope. Other traffic lowers the slope. The line is a least-squares fit over the last 8 s:

        taken = rate - (slope + 1.5 × standard error of the slope)

    Running sums make each report O(1).
    """

    __slots__ = ("_origin", "_points", "_sum_t", "_sum_tt", "_sum_ty", "_sum_y", "_sum_yy")

    def __init__(self) -> None:
        self._points: deque[tuple[int, float]] = deque()  # time, and `remaining + all our charges`
        self._start_from((0, 0.0))

    def dump(self, now_ns: int, *, exact: bool = False) -> RefillLineState:
        """The state, for `restore`. Of more than 64 points it has an even selection that ends with the newest.

        `exact`: all points are kept, those of 8 s.
        """
        points = list(self._points)
        if len(points) > _DUMPED_POINTS and not exact:
            selection = RefillLine()
            selection._points.extend(points[:: -(len(points) // _DUMPED_POINTS + 1)][::-1])
            selection._start_from(selection._points[0])
            return selection.dump(now_ns)
        return RefillLineState(
            tuple((now_ns - at_ns, units) for at_ns, units in points),
            now_ns - self._origin[0],
            self._origin[1],
            (self._sum_t, self._sum_y, self._sum_tt, self._sum_ty, self._sum_yy),
        )

    @classmethod
    def restore(cls, state: RefillLineState, now_ns: int) -> Self:
        """Continues exactly from `state`. A selection of points has a larger standard error."""
        restored = cls()
        restored._points.extend((now_ns - ago_ns, units) for ago_ns, units in state.points)
        restored._origin = now_ns - state.origin_ago_ns, state.origin_units
        restored._sum_t, restored._sum_y, restored._sum_tt, restored._sum_ty, restored._sum_yy = state.sums
        return restored

    def clear(self) -> None:
        """Forgets all reports: the line has a kink here, such as a full bucket or another limit."""
        self._points.clear()

    def observe(self, at_ns: int, remaining: float, charged: float) -> None:
        """Adds a report: what remained at `at_ns`, and the sum of our charges until then, in units."""
        point = (at_ns, remaining + charged)
        while self._points and self._points[0][0] < at_ns - _WINDOW_NS:
            self._weigh(self._points.popleft(), -1)
        # Only now: seen from a point that is hours later, the squares of old ones would leave nothing but their errors.
        if not self._points or at_ns - self._origin[0] > _ORIGIN_NS:
            self._start_from(point)
        self._points.append(point)
        self._weigh(point, 1)

    def taken_per_second(self, rate_per_second: float) -> float:
        """Use by others, between 0 and the rate. It is 0 while it cannot be distinguished from chance."""
        count = len(self._points)
        if count < _LEAST_POINTS or self._points[-1][0] - self._points[0][0] < _LEAST_SPAN_NS:
            return 0.0
        spread_t = self._sum_tt - self._sum_t**2 / count
        slope = (self._sum_ty - self._sum_t * self._sum_y / count) / spread_t
        residual = max(0.0, self._sum_yy - self._sum_y**2 / count - slope**2 * spread_t)
        error = sqrt(residual / (count - 2) / spread_t)
        taken = rate_per_second - (slope + _STANDARD_ERRORS * error)
        return 0.0 if taken < SMALLEST_SHARE * rate_per_second else min(taken, rate_per_second)

    def _start_from(self, origin: tuple[int, float]) -> None:
        """Computes the sums over all points with times and units counted from this one."""
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
