"""Who waits in which event loop, and the one timer per pool and loop that has the store look again."""

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Final

from tidegate.core.clock import to_seconds
from tidegate.core.store import Change

__all__ = ["Waiters"]


class _LoopWaiters:
    """The timers of one event loop, and how many wait there for each pool. Only used in that loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, advance: Callable[[str], None]) -> None:
        self.loop = loop
        self.waiting: Counter[str] = Counter()
        self._advance = advance
        self._timers: dict[str, tuple[float, asyncio.Handle]] = {}

    def arm(self, pool: str, next_in_ns: int) -> None:
        """Has the pool looked at after that time. An earlier timer stays: early does no harm, it is set again then."""
        if not self.waiting[pool]:
            return
        when = self.loop.time() + to_seconds(next_in_ns)
        timer = self._timers.get(pool)
        if timer is not None:
            if timer[0] <= when:
                return
            timer[1].cancel()
        # The time is kept beside the handle: uvloop's does not tell it when the delay rounds to nothing.
        self._timers[pool] = (when, self.loop.call_at(when, self._fire, pool))

    def leave(self, pool: str) -> None:
        """One waiter less."""
        self.waiting[pool] -= 1
        if not self.waiting[pool]:
            del self.waiting[pool]
            timer = self._timers.pop(pool, None)
            if timer is not None:
                timer[1].cancel()

    def _fire(self, pool: str) -> None:
        del self._timers[pool]
        self._advance(pool)


class _Waiter:
    __slots__ = ("future", "home", "pool")

    def __init__(self, pool: str, home: _LoopWaiters, future: asyncio.Future[None]) -> None:
        self.pool = pool
        self.home = home
        self.future = future

    def wake(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


_EXPECTED: Final = object()
_EARLY: Final = object()


class Waiters:
    """Connects grants, which may come from any thread, to the futures that wait for them in any event loop.

    A lease goes through `expect` (before the store is asked), then `wait` (it was queued), and always `forget`. A grant
    for a lease that is not expected is another's, and ignored. Nothing is kept beyond its event loop: a loop is
    forgotten with its last waiter.

    Args:
        advance: has the store look at a pool again, as `Store.advance`.
        give_back: withdraws or ends a lease (pool, lease id) that nobody can take, because its event loop has closed.
    """

    def __init__(self, advance: Callable[[str], None], give_back: Callable[[str, str], None]) -> None:
        self._advance = advance
        self._give_back = give_back
        self._lock = threading.Lock()
        self._loops: dict[asyncio.AbstractEventLoop, _LoopWaiters] = {}
        self._leases: dict[str, object] = {}

    def expect(self, lease_id: str) -> None:
        """The store is about to be asked for this lease; a grant may come from another thread before it answers."""
        self._leases[lease_id] = _EXPECTED

    def wait(self, pool: str, lease_id: str) -> asyncio.Future[None]:
        """A future of the running loop that is done once the lease is granted."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            early = self._leases[lease_id] is _EARLY
            home = self._loops.get(loop)
            if home is None:
                home = self._loops[loop] = _LoopWaiters(loop, self._advance)
            home.waiting[pool] += 1
            waiter = _Waiter(pool, home, future)
            self._leases[lease_id] = waiter
        if early:
            waiter.wake()
        return future

    def forget(self, lease_id: str) -> None:
        """The lease is no longer waited for; called in the loop that waited."""
        entry = self._leases.pop(lease_id, None)
        if isinstance(entry, _Waiter):
            with self._lock:
                entry.home.leave(entry.pool)
                if not entry.home.waiting:
                    self._loops.pop(entry.home.loop, None)

    def on_change(self, change: Change) -> None:
        """Wakes whom the change grants, and sets the timers of all loops that still wait for the pool."""
        for lease_id in change.granted:
            self._grant(lease_id)
        if change.next_in_ns is not None:
            with self._lock:
                homes = [home for home in self._loops.values() if home.waiting[change.pool]]
            for home in homes:
                if not _call_in(home.loop, home.arm, change.pool, change.next_in_ns):
                    self._drop_loop(home)

    def _grant(self, lease_id: str) -> None:
        with self._lock:
            entry = self._leases.get(lease_id)
            if entry is _EXPECTED:
                self._leases[lease_id] = _EARLY
        if isinstance(entry, _Waiter) and not _call_in(entry.home.loop, entry.wake):
            self._drop_loop(entry.home)

    def _drop_loop(self, home: _LoopWaiters) -> None:
        """Gives back whatever was left behind in a loop that has closed."""
        with self._lock:
            self._loops.pop(home.loop, None)
            left = [
                (entry.pool, lease_id)
                for lease_id, entry in list(self._leases.items())
                if isinstance(entry, _Waiter) and entry.home is home
            ]
            for _, lease_id in left:
                del self._leases[lease_id]
        # All are forgotten before the first is given back: that may grant the next, which must not lead here again.
        for pool, lease_id in left:
            self._give_back(pool, lease_id)


def _call_in(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: object) -> bool:
    """Calls the function in the loop's thread: at once if this is it. False if the loop has closed."""
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        running = None
    if running is loop:
        function(*arguments)
        return True
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        return False
    return True
