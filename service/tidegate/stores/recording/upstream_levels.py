"""The limits and remainders that the upstream would report in a replay.

What it has reported depends on what was sent until then. So a bucket of the reported limit is computed twice: with the
use of the recording, and with that of the replay. The recorded remainder is corrected by their difference. Whatever
else was in it, such as the use of others, stays.
"""

from collections.abc import Iterator, Mapping

from msgspec import structs

from tidegate.core.domain.demand import FREE_OUTCOMES
from tidegate.core.domain.dimension import DIMENSIONS, Cost, Dimension
from tidegate.core.domain.feedback import Feedback
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE
from tidegate.stores.recording.changed_settings import ChangedSettings
from tidegate.stores.recording.courses import Course, Courses
from tidegate.stores.recording.observed_pools import Operation
from tidegate.stores.recording.original import Original

__all__ = ["UpstreamLevels", "cost_of"]

Key = tuple[str, Dimension]
"""A pool and a dimension."""


class _Bucket:
    """Refills continuously. It is full at first, and holds a minute of its rate."""

    __slots__ = ("_at_ns", "_level", "per_minute")

    def __init__(self, per_minute: float, now_ns: int) -> None:
        self.per_minute = self._level = per_minute
        self._at_ns = now_ns

    def level(self, now_ns: int) -> float:
        refilled = self.per_minute * (now_ns - self._at_ns) / NS_PER_MINUTE
        self._level, self._at_ns = min(self.per_minute, self._level + refilled), now_ns
        return self._level

    def take(self, units: int, now_ns: int) -> None:
        self._level = max(0.0, self.level(now_ns) - units)


class UpstreamLevels:
    """Corrects the reports of a recording.

    Args:
        original: the recording.
        courses: its courses.
        settings: those of the replay. If one is above the limit that the upstream has reported, the upstream counts as
            granting it, and as having all of it left: then the setting alone limits.
    """

    def __init__(self, original: Original, courses: Courses, settings: ChangedSettings) -> None:
        self._settings = settings
        reports = list(_reports(original))
        first: dict[Key, int] = {}
        for _, _, pool, report in reports:
            for dimension, given in _given(report).items():
                first.setdefault((pool, dimension), given.per_minute)
        since_ns = original.since_ns
        self._buckets = {key: _Bucket(per_minute, since_ns) for key, per_minute in first.items()}
        recorded = {key: _Bucket(per_minute, since_ns) for key, per_minute in first.items()}
        self._unexplained: dict[tuple[int, int, Dimension], float] = {}
        used = sorted(_used(courses, since_ns), key=lambda each: each[0], reverse=True)
        for place, number, pool, report in reports:
            now_ns = original.operations[place].now_ns
            while used and used[-1][0] <= now_ns:
                _take(recorded, *used.pop())
            for dimension, given in _given(report).items():
                bucket = recorded[pool, dimension]
                bucket.per_minute = given.per_minute
                if given.remaining is not None:
                    self._unexplained[place, number, dimension] = given.remaining - bucket.level(now_ns)

    def admitted(self, pool: str, cost: Cost, now_ns: int) -> None:
        """A request is sent in the replay, and will cost this much."""
        _take(self._buckets, now_ns, pool, cost)

    def feedback(self, place: int, number: int, pool: str, feedback: Feedback, now_ns: int) -> Feedback:
        """The feedback of an answer in the replay.

        Args:
            place: of the step in the recording.
            number: of the feedback in that step.
            pool: the pool.
            feedback: as recorded.
            now_ns: the time in the replay.
        """
        if not isinstance(feedback, LimitReport):
            return feedback
        reports = {
            str(dimension): self._report(place, number, (pool, dimension), given, now_ns)
            for dimension, given in _given(feedback).items()
        }
        return structs.replace(feedback, **reports)

    def _report(self, place: int, number: int, key: Key, given: DimensionReport, now_ns: int) -> DimensionReport:
        per_minute = self._settings.limit_set(*key) or 0.0
        if per_minute > given.per_minute:
            return DimensionReport(round(per_minute), round(per_minute))
        bucket = self._buckets[key]
        bucket.per_minute = given.per_minute
        unexplained = self._unexplained.get((place, number, key[1]))
        if unexplained is None:
            return given
        level = min(bucket.per_minute, max(0.0, bucket.level(now_ns) + unexplained))
        change_ns = round((given.remaining or 0) - level) / bucket.per_minute * NS_PER_MINUTE
        full_in_ns = None if given.full_in_ns is None else max(0, given.full_in_ns + round(change_ns))
        return DimensionReport(given.per_minute, round(level), full_in_ns)


def cost_of(course: Course) -> Cost:
    """The cost that an attempt has used; the estimate where that is unknown."""
    for _, operation in course.operations:
        if operation.method == "end":
            _, _, outcome, used, *_ = operation.arguments
            return Cost() if outcome in FREE_OUTCOMES else used or course.attempt.demand.cost
    return course.attempt.demand.cost


def _reports(original: Original) -> Iterator[tuple[int, int, str, LimitReport]]:
    """Each report with the place of its step, its number in that step, and its pool."""
    for place, operation in enumerate(original.operations):
        for number, feedback in enumerate(_feedback(operation)):
            if isinstance(feedback, LimitReport):
                yield place, number, operation.arguments[0], feedback


def _feedback(operation: Operation) -> tuple[Feedback, ...]:
    if operation.method == "learn":
        return (operation.arguments[1],)
    given: tuple[Feedback, ...] = operation.arguments[4] if operation.method == "end" else ()
    return given


def _given(report: LimitReport) -> dict[Dimension, DimensionReport]:
    pairs = zip(DIMENSIONS, report.dimensions, strict=True)
    return {dimension: given for dimension, given in pairs if given is not None}


def _used(courses: Courses, since_ns: int) -> Iterator[tuple[int, str, Cost]]:
    for course in courses.by_lease.values():
        granted_ns = course.attempt.granted_ns
        if granted_ns is not None and granted_ns >= since_ns:
            yield granted_ns, course.attempt.demand.pool, cost_of(course)


def _take(buckets: Mapping[Key, _Bucket], now_ns: int, pool: str, cost: Cost) -> None:
    for dimension, units in zip(DIMENSIONS, cost, strict=True):
        if (bucket := buckets.get((pool, dimension))) is not None:
            bucket.take(units, now_ns)
