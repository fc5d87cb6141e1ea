"""Replays a recording under other settings.

Under other settings attempts are admitted at other times. What the recording says of them moves along:

- A call arrives when it did. If it came after another call of its session, it comes as long after that one's end.
- The response takes as long after the admission, and uses as much. An attempt that was never admitted has no response
  in the recording: it takes the mean time of its caller, and uses what was estimated.
- A retry comes as long after the failure.
- An attempt is refused when its patience ends, and a client that left while it waited leaves after the same time.
- 429s of the recording are left out, because other requests would have gotten them: the attempt gets the response of
  its retry at once. `keep_429s` keeps each where it is. The replay itself makes no new ones.
- Other failures of the upstream stay. So do the limits that it has reported. What it said was left of them is corrected
  by the difference in use (`upstream_levels.py`).
"""

from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from itertools import count

from msgspec import structs

from tidegate.core.domain.demand import Granted, Outcome, Refused
from tidegate.core.domain.feedback import Feedback, RateLimited, Succeeded
from tidegate.stores.recording.attempts import Attempts
from tidegate.stores.recording.changed_settings import ChangedSettings
from tidegate.stores.recording.courses import Course, Courses
from tidegate.stores.recording.observed_pools import ObservedPools, Operation
from tidegate.stores.recording.original import Original, restored_pools
from tidegate.stores.recording.upstream_levels import UpstreamLevels, cost_of

__all__ = ["replay"]


def replay(original: Original, settings: ChangedSettings, *, keep_429s: bool = False) -> Attempts:
    """The outcomes of the same calls under these settings, in the same time."""
    return _Replay(original, settings, keep_429s=keep_429s).run()


class _Replay:
    """Makes the steps of a recording at other times, in the order of these times."""

    def __init__(self, original: Original, settings: ChangedSettings, *, keep_429s: bool) -> None:
        self._original = original
        self._settings = settings
        self._keep_429s = keep_429s
        self._courses = Courses(original)
        self._pools: ObservedPools = restored_pools(settings.state(original.state))
        self._levels = UpstreamLevels(original, self._courses, settings)
        self._now_ns = original.since_ns
        self._plan: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count(len(original.operations))  # what was not recorded comes after what was
        self._responses: dict[str, Course] = {}
        self._over: set[str] = set()
        self._advance_at: dict[str, int] = {}

    def run(self) -> Attempts:
        """Replays everything."""
        for place, operation in self._courses.fixed:
            self._at(operation.now_ns, partial(self._make, place, operation), place)
        for course in self._courses.by_lease.values():
            self._begin(course)
        until_ns = self._original.until_ns
        while self._plan and self._plan[0][0] <= until_ns:
            self._now_ns, _, step = heappop(self._plan)
            step()
            self._take_changes()
        return self._pools.attempts

    def _at(self, at_ns: int, step: Callable[[], None], place: int | None = None) -> None:
        heappush(self._plan, (max(at_ns, self._now_ns), next(self._numbers) if place is None else place, step))

    def _begin(self, course: Course) -> None:
        attempt = course.attempt
        if course.asked_at is not None:
            if course.follows is None:
                self._at(attempt.asked_ns, partial(self._ask, course), course.asked_at)
        elif attempt.granted_ns is None or attempt.granted_ns > self._original.since_ns:
            if attempt.asked_ns <= self._original.since_ns:
                self._wait(course, attempt.asked_ns)
        elif attempt.lease_id in self._pools.attempts.all:
            self._admitted(course, attempt.granted_ns)

    # The steps of an attempt.

    def _ask(self, course: Course) -> None:
        demand = self._settings.demand(course.attempt.demand)
        result = self._pools.reserve(course.attempt.lease_id, demand, self._now_ns)
        if isinstance(result, Granted):
            self._admitted(course, self._now_ns)
        elif isinstance(result, Refused):
            self._end(course.attempt.lease_id)
        else:
            self._wait(course, self._now_ns)

    def _wait(self, course: Course, asked_ns: int) -> None:
        """Plans what happens while it waits."""
        attempt = course.attempt
        demand = attempt.demand
        for place, operation in course.operations:
            if operation.method == "reprice" or (operation.method == "release" and attempt.granted_ns is None):
                step = partial(self._make_on_waiter, operation, attempt.lease_id)
                self._at(asked_ns + operation.now_ns - attempt.asked_ns, step, place)
        if demand.patience_ns is not None:
            self._at(asked_ns + demand.patience_ns, partial(self._lose_patience, demand.pool, attempt.lease_id))

    def _admitted(self, course: Course, granted_ns: int) -> None:
        """Plans the response."""
        lease_id = course.attempt.lease_id
        response = self._responses[lease_id] = self._response_of(course)
        attempt, is_known = response.attempt, False
        has_response = attempt.granted_ns is not None and not self._is_left_out(response)
        if granted_ns >= self._original.since_ns:
            cost = cost_of(response) if has_response else course.attempt.demand.cost
            self._levels.admitted(course.attempt.demand.pool, cost, granted_ns)
        if attempt.granted_ns is not None and has_response:
            for place, operation in response.operations:
                if operation.now_ns >= attempt.granted_ns and operation.method not in {"withdraw", "reprice"}:
                    step = partial(self._make_on_lease, place, operation, lease_id)
                    self._at(granted_ns + operation.now_ns - attempt.granted_ns, step, place)
            is_known = attempt.over_ns is not None
        if not is_known:
            lasts_ns = self._courses.duration_ns(attempt)
            if attempt.granted_ns is not None and attempt.over_ns is None:
                lasts_ns = max(lasts_ns, self._original.until_ns - attempt.granted_ns)
            self._at(granted_ns + lasts_ns, partial(self._settle, course, lasts_ns))

    def _response_of(self, course: Course) -> Course:
        """The course that has the response: its own, or that of a retry after 429s that are left out."""
        while self._is_left_out(course) and course.retry is not None:
            course = course.retry
        return course

    def _is_left_out(self, course: Course) -> bool:
        return course.attempt.outcome is Outcome.THROTTLED and not self._keep_429s

    def _settle(self, course: Course, lasted_ns: int) -> None:
        """Ends an attempt without a known response."""
        lease_id, pool = course.attempt.lease_id, course.attempt.demand.pool
        given = () if course.attempt.demand.settle_at_once else (Succeeded(lasted_ns, lease_id),)
        self._pools.end(pool, lease_id, Outcome.SETTLED, None, given, None, self._now_ns)
        self._end_if_over(lease_id)

    def _lose_patience(self, pool: str, lease_id: str) -> None:
        self._pools.withdraw(pool, lease_id, self._now_ns)
        self._end_if_over(lease_id)

    def _make_on_waiter(self, operation: Operation, lease_id: str) -> None:
        """A new estimate, or the departure of a client that waited. If it waits no longer, its response is lost."""
        if operation.method == "release" and self._pools.attempts.all[lease_id].granted_ns is not None:
            self._pools.end(operation.arguments[0], lease_id, Outcome.ABANDONED, None, (), None, self._now_ns)
        else:
            operation.run(self._pools, self._now_ns)
        self._end_if_over(lease_id)

    def _make_on_lease(self, place: int, operation: Operation, lease_id: str) -> None:
        pool = operation.arguments[0]
        if operation.method == "learn":
            arguments: tuple[object, ...] = (pool, self._feedback(place, 0, pool, operation.arguments[1], lease_id))
        else:
            arguments = (pool, lease_id, *operation.arguments[2:])
            if operation.method == "end":
                given = enumerate(operation.arguments[4])
                feedback = tuple(self._feedback(place, number, pool, each, lease_id) for number, each in given)
                arguments = (*arguments[:4], feedback, *arguments[5:])
        Operation(operation.method, arguments, self._now_ns).run(self._pools, self._now_ns)
        self._end_if_over(lease_id)

    def _feedback(self, place: int, number: int, pool: str, feedback: Feedback, lease_id: str) -> Feedback:
        changed = self._levels.feedback(place, number, pool, feedback, self._now_ns)
        return structs.replace(changed, lease_id=lease_id) if getattr(changed, "lease_id", "") else changed

    def _end_if_over(self, lease_id: str) -> None:
        if self._pools.attempts.all[lease_id].over_ns is not None:
            self._end(lease_id)

    def _end(self, lease_id: str) -> None:
        """Plans what comes after an attempt."""
        if lease_id in self._over or (course := self._courses.by_lease.get(lease_id)) is None:
            return
        self._over.add(lease_id)
        for each in self._following(course):
            before = each.follows.attempt if each.follows is not None else course.attempt
            pause_ns = each.attempt.asked_ns - (before.over_ns or each.attempt.asked_ns)
            self._at(self._now_ns + pause_ns, partial(self._ask, each), each.asked_at)

    def _following(self, course: Course) -> list[Course]:
        """The attempts that come after one that is over: its retry, or the next calls once there is no retry."""
        response = self._responses.get(course.attempt.lease_id)
        following = list(course.next_calls)
        while course.retry is not None:
            if course is response:
                return [*following, course.retry]
            course = course.retry  # it is left out, or its call was refused before
            following += course.next_calls
        return following

    # Steps that belong to no attempt.

    def _make(self, place: int, operation: Operation) -> None:
        method, arguments = operation.method, operation.arguments
        if method == "learn":
            if not isinstance(arguments[1], RateLimited) or self._keep_429s:
                pool, feedback = arguments
                self._pools.learn(pool, self._levels.feedback(place, 0, pool, feedback, self._now_ns), self._now_ns)
        elif method == "abandon":
            self._abandon(arguments[0])
        elif method == "hold":
            self._hold(operation)
        else:
            self._settings.operation(operation).run(self._pools, self._now_ns)

    def _abandon(self, is_gone: Callable[[str], bool]) -> None:
        """A replica has gone. What it had finished by then in the recording is finished in the replay as well."""
        recorded = self._original.attempts.all

        def had_open(lease_id: str) -> bool:
            over_ns = recorded[lease_id].over_ns
            return is_gone(lease_id) and (over_ns is None or over_ns >= self._now_ns)

        self._pools.abandon(had_open, self._now_ns)
        for lease_id in filter(is_gone, self._courses.by_lease):
            if lease_id in self._pools.attempts.all:
                self._end_if_over(lease_id)

    def _hold(self, operation: Operation) -> None:
        """A lease that was granted by a replica alone. One that has asked here gets its grant here."""
        lease_id, demand, known = operation.arguments
        if lease_id not in self._pools.attempts.all:
            self._pools.hold(lease_id, self._settings.demand(demand), known, self._now_ns)
            self._admitted(self._courses.by_lease[lease_id], self._now_ns)

    # Changes.

    def _take_changes(self) -> None:
        for change in self._pools.take_changes():
            for lease_id in change.granted:
                self._admitted(self._courses.by_lease[lease_id], self._now_ns)
            for lease_id, _ in change.refused:
                self._end(lease_id)
            if change.next_in_ns is not None:
                self._advance_within(change.pool, change.next_in_ns)

    def _advance_within(self, pool: str, in_ns: int) -> None:
        at_ns = self._now_ns + in_ns
        if at_ns < self._advance_at.get(pool, at_ns + 1):
            self._advance_at[pool] = at_ns
            self._at(at_ns, partial(self._advance, pool, at_ns))

    def _advance(self, pool: str, at_ns: int) -> None:
        if self._advance_at.get(pool) == at_ns:
            del self._advance_at[pool]
            self._pools.advance(pool, self._now_ns)
