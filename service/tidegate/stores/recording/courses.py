"""The course of each attempt in a recording: what happened after its admission, and what it came after."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from statistics import fmean
from typing import Final

from tidegate.core.domain.demand import Outcome
from tidegate.stores.recording.attempts import Attempt
from tidegate.stores.recording.observed_pools import Operation
from tidegate.stores.recording.original import Original
from tidegate.stores.steps import replica_of

__all__ = ["Course", "Courses"]

_ON_LEASE: Final = frozenset({"withdraw", "charge", "end", "release", "reprice"})
Line = tuple[str, ...]
"""The values that the attempts of one call share."""


@dataclass(eq=False, slots=True)
class Course:
    """The steps of an attempt after it had asked, and the attempts before and after it.

    Attributes:
        attempt: the attempt.
        operations: the steps on it after it had asked, each with its place among all steps.
        asked_at: the place of the step by which it asked; None: it was open at the beginning.
        retry: the next attempt of the same call, after this one had failed.
        next_calls: calls of the same session that began after it was over, while no other was open.
        follows: the attempt whose end it waits for.
    """

    attempt: Attempt
    operations: list[tuple[int, Operation]] = field(default_factory=list)
    asked_at: int | None = None
    retry: "Course | None" = None
    next_calls: list["Course"] = field(default_factory=list)
    follows: "Course | None" = None


class Courses:
    """The courses of all attempts, and the steps that belong to none.

    An attempt that comes back (`Demand.front` or `retry`) follows the last failed attempt of the same replica, pool,
    caller, session and agent. A call of a session follows the last one of the same agent, if that one was over.

    Attributes:
        by_lease: by lease id.
        fixed: the other steps, each with its place.
    """

    def __init__(self, original: Original) -> None:
        attempts = original.attempts.all
        self.by_lease = {lease_id: Course(attempt) for lease_id, attempt in attempts.items()}
        self.fixed: list[tuple[int, Operation]] = []
        for place, operation in enumerate(original.operations):
            lease_id = _lease_of(operation)
            course = None if lease_id is None else self.by_lease.get(lease_id)
            if course is None:
                self.fixed.append((place, operation))
            elif operation.method == "reserve":
                course.asked_at = place
            else:
                course.operations.append((place, operation))
        self._link()
        self._durations = _durations(attempts.values())

    def duration_ns(self, attempt: Attempt) -> int:
        """The probable time from the admission of such an attempt to its end: the mean of its caller in the pool."""
        demand = attempt.demand
        for key in ((demand.pool, demand.caller.name), (demand.pool, ""), ("", "")):
            if (found := self._durations.get(key)) is not None:
                return found
        return 0

    def _link(self) -> None:
        failed: defaultdict[Line, list[Course]] = defaultdict(list)
        over: dict[Line, Course] = {}
        is_open: defaultdict[Line, int] = defaultdict(int)
        for course, begins in self._moments():
            demand, attempt = course.attempt.demand, course.attempt
            session: Line = (demand.caller.name, demand.session, demand.agent)
            line = (replica_of(attempt.lease_id), demand.pool, *session)
            if not begins:
                is_open[session] -= 1
                over[session] = course
                if attempt.outcome is not None and attempt.outcome is not Outcome.SETTLED:
                    failed[line].append(course)
                continue
            if demand.front or demand.retry:
                before = _last(failed[line], throttled=demand.front)
                if before is not None:
                    before.retry, course.follows = course, before
            elif demand.session and not is_open[session] and session in over:
                course.follows = over[session]
                course.follows.next_calls.append(course)
            is_open[session] += 1

    def _moments(self) -> Iterator[tuple[Course, bool]]:
        """Each course when it begins (True) and when it is over, in order. At one moment, ends come first."""
        moments: list[tuple[int, int, int, Course]] = []
        for number, course in enumerate(self.by_lease.values()):
            attempt = course.attempt
            moments.append((attempt.asked_ns, 1, number, course))
            if attempt.over_ns is not None:
                moments.append((attempt.over_ns, 0 if attempt.over_ns > attempt.asked_ns else 2, number, course))
        return ((course, order == 1) for _, order, _, course in sorted(moments, key=lambda each: each[:3]))


def _lease_of(operation: Operation) -> str | None:
    """The lease that a step is about; None: it is about none."""
    arguments = operation.arguments
    if operation.method == "reserve":
        return str(arguments[0])
    if operation.method in _ON_LEASE:
        return str(arguments[1])
    if operation.method == "learn":
        return getattr(arguments[1], "lease_id", "") or None
    return None


def _last(failed: list[Course], *, throttled: bool) -> Course | None:
    for place in range(len(failed) - 1, -1, -1):
        if (failed[place].attempt.outcome is Outcome.THROTTLED) is throttled:
            return failed.pop(place)
    return None


def _durations(attempts: Iterable[Attempt]) -> dict[tuple[str, str], int]:
    """Mean durations of complete attempts by pool and caller, by pool alone, and of all."""
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for each in attempts:
        if each.outcome is Outcome.SETTLED and each.granted_ns is not None and each.over_ns is not None:
            pool = each.demand.pool
            for key in ((pool, each.demand.caller.name), (pool, ""), ("", "")):
                found[key].append(each.over_ns - each.granted_ns)
    return {key: round(fmean(durations)) for key, durations in found.items()}
