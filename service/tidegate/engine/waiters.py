"""The waiting tasks of each event loop, and one timer per pool and loop that advances the pool."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable

from tidegate.core.domain.demand import Demand, Refused
from tidegate.core.domain.errors import Refusal
from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.ports.store import Change

__all__ = ["Answer", "Waiters"]


class _LoopWaiters:
    """The timers of one event loop, and how many tasks wait there for each pool. Only used in that loop's thread.

    Attributes:
        timers: by pool, when each fires, and its handle.
        waiting: by pool, how many tasks wait.
    """

    __slots__ = ("_advance", "loop", "timers", "waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, advance: Callable[[str], None]) -> None:
        self.loop = loop
        self.waiting: Counter[str] = Counter()
        self._advance = advance
        self.timers: dict[str, tuple[float, asyncio.Handle]] = {}

    def arm(self, pool: str, next_in_ns: int) -> None:
        """Advances the pool after that time. An earlier timer stays: it does no harm, and is set again then."""
        if not self.waiting[pool]:
            return
        when = self.loop.time() + to_seconds(next_in_ns)
        timer = self.timers.get(pool)
        if timer is not None:
            if timer[0] <= when:
                return
            timer[1].cancel()
        # The time is kept beside the handle, because uvloop's handle lacks it when the delay rounds to 0.
        self.timers[pool] = (when, self.loop.call_at(when, self._fire, pool))

    def leave(self, pool: str) -> bool:
        """Counts one waiting task less. Returns whether it was the last of all pools."""
        waiting = self.waiting
        left = waiting[pool] - 1
        if left:
            waiting[pool] = left
            return False
        del waiting[pool]
        timer = self.timers.pop(pool, None)
        if timer is not None:
            timer[1].cancel()
        return not waiting

    def _fire(self, pool: str) -> None:
        del self.timers[pool]
        self._advance(pool)


Answer = bool | Refused | Refusal
"""The result of a wait: True, it is granted; False, its patience has ended; or why it is refused after all.

The store refuses with `Refused`, and has ended the wait then. A `Refusal` is of this process alone.
"""


class Waiters:
    """Connects grants and refusals, which may come from any thread, to the futures that wait in any event loop.

    Call `expect` for each lease before the store is asked, `wait` if it was queued, and always `forget`. A grant for a
    lease that is not expected belongs to another process and is ignored. A loop is forgotten with its last waiter, so
    that nothing is kept beyond its event loop.

    Args:
        advance: admits the waiters of a pool that fit by now, as `Store.advance`.
        give_back: withdraws or ends a lease (its id and demand) whose event loop has closed.
    """

    def __init__(self, advance: Callable[[str], None], give_back: Callable[[str, Demand], None]) -> None:
        self._advance = advance
        self._give_back = give_back
        self._lock = threading.RLock()  # re-entrant: a finalizer that interrupts may cause a change
        self._loops: dict[asyncio.AbstractEventLoop, _LoopWaiters] = {}
        # Dictionaries, and no object per waiter: there may be a hundred thousand.
        self._leases: dict[str, Demand] = {}  # all leases that are expected or waited for
        self._answers: dict[str, asyncio.Future[Answer]] = {}  # of leases that are waited for
        self._early: dict[str, Answer] = {}  # of leases that are not waited for yet
        self._refused: dict[str, Refused] = {}

    def expect(self, lease_id: str, demand: Demand) -> None:
        """The store is about to be asked for this lease. A grant may come from another thread before it answers."""
        self._leases[lease_id] = demand

    def wait(self, lease_id: str) -> asyncio.Future[Answer]:
        """A future of the running loop that is set once the lease is granted or refused."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Answer] = loop.create_future()
        pool = self._leases[lease_id].pool
        with self._lock:
            early = self._early.pop(lease_id, None) if self._early else None
            home = self._loops.get(loop)
            if home is None:
                home = self._loops[loop] = _LoopWaiters(loop, self._advance)
            home.waiting[pool] += 1
            self._answers[lease_id] = answer
        if early is not None:
            answer.set_result(early)
        elif pool not in home.timers:
            self._advance(pool)  # sets the timer, now that a task waits in this loop
        return answer

    def refusal(self, lease_id: str) -> Refused | None:
        """The refusal of a waiter, even if its patience ended in the same moment; None if it was not refused."""
        return self._refused.get(lease_id)

    def forget(self, lease_id: str) -> bool:
        """Ends the wait for the lease. Called in the loop that waited.

        False if it was given back before, because that loop had closed.
        """
        demand, answer = self._leases.pop(lease_id, None), self._answers.pop(lease_id, None)
        if self._early:
            self._early.pop(lease_id, None)
        if self._refused:
            self._refused.pop(lease_id, None)
        if answer is not None and demand is not None:
            loop = answer.get_loop()
            # No lock: the state of a loop only changes in its thread, except after its closing. A finalizer, which may
            # interrupt the holder of a lock, also calls this.
            if self._loops[loop].leave(demand.pool):
                del self._loops[loop]
        return demand is not None

    def on_change(self, change: Change) -> None:
        """Wakes the tasks that the change grants or refuses, and sets the timers of all loops that wait for it."""
        if change.granted:
            self._grant(change.granted)
        if change.refused:
            self._refuse(change.refused)
        if change.next_in_ns is None:
            return
        running = _running_loop()
        with self._lock:
            homes = [home for home in tuple(self._loops.values()) if home.waiting[change.pool]]
        for home in homes:
            if home.loop is running:
                home.arm(change.pool, change.next_in_ns)
            elif not _call_in(home.loop, home.arm, change.pool, change.next_in_ns):
                self._drop_loop(home.loop)

    def refuse(self, refusal_of: Callable[[Demand], Refusal | None]) -> None:
        """Wakes the tasks whose demand is to be refused, also those that are only expected. From any thread."""
        refusals = [(lease_id, refusal_of(demand)) for lease_id, demand in list(self._leases.items())]
        for lease_id, refusal in refusals:
            if refusal is None:
                continue
            with self._lock:
                answer = self._answer_for(lease_id, refusal)
            if answer is not None and not _call_in(answer.get_loop(), _wake, answer, refusal):
                self._drop_loop(answer.get_loop())

    def _grant(self, lease_ids: tuple[str, ...]) -> None:
        running = _running_loop()
        with self._lock:
            answers = [self._answers.get(lease_id) or self._answer_for(lease_id, result=True) for lease_id in lease_ids]
        for answer in answers:
            if answer is None:
                continue
            loop = answer.get_loop()
            if loop is not running:
                if not _call_in(loop, _wake, answer):
                    self._drop_loop(loop)
            elif not answer.done():
                answer.set_result(True)

    def _refuse(self, refusals: tuple[tuple[str, Refused], ...]) -> None:
        answers = []
        with self._lock:  # all are noted before the first is woken, which may find its loop closed
            for lease_id, refused in refusals:
                answer = self._answer_for(lease_id, refused)
                if answer is not None:
                    self._refused[lease_id] = refused
                    answers.append((answer, refused))
        for answer, refused in answers:
            loop = answer.get_loop()
            if not _call_in(loop, _wake, answer, refused):
                self._drop_loop(loop)

    def _answer_for(self, lease_id: str, result: Answer) -> asyncio.Future[Answer] | None:
        """The future that is waited for. If the wait has not begun yet, the result is noted for it."""
        answer = self._answers.get(lease_id)
        if answer is None and lease_id in self._leases:
            self._early[lease_id] = result
        return answer

    def _drop_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Gives back what was left behind in a loop that has closed. Refused waiters have nothing."""
        with self._lock:
            self._loops.pop(loop, None)
            left = [
                (lease_id, self._leases.pop(lease_id))
                for lease_id, answer in list(self._answers.items())
                if answer.get_loop() is loop
            ]
            for lease_id, _ in left:
                del self._answers[lease_id]
            refused = [self._refused.pop(lease_id, None) for lease_id, _ in left]
        # All are forgotten before the first is given back, because that may grant the next one and call this again.
        for (lease_id, demand), refusal in zip(left, refused, strict=True):
            if refusal is None:
                self._give_back(lease_id, demand)


def _wake(answer: asyncio.Future[Answer], result: Answer = True) -> None:  # noqa: FBT002 - the result of the future
    if not answer.done():
        answer.set_result(result)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _call_in(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> bool:
    """Calls the function in the loop of another thread. Returns False if the loop has closed."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        return False
    return True
