"""Shows who waits for a pool, and for how much longer."""

import heapq
from collections.abc import Callable
from typing import Final

from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import to_seconds
from tidegate.core.domain.snapshots import QueueSnapshot, WaitingGroup, WaitLeft
from tidegate.core.forecast.wait_forecast import WaitForecast
from tidegate.core.pool.own_limits import OwnLimits
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter

__all__ = ["QueueView"]

_MOST_GROUPS: Final = 100
"""Invented callers must not make a snapshot endless."""


class QueueView:
    """Reads the queue of one pool and changes nothing.

    Args:
        pool: its name.
        queue: the queue.
        forecast: predicts the waits.
        own_limits: the limits of callers in this pool.
        binding: returns what a request of some cost waits for that is the next to go.
    """

    __slots__ = ("_binding", "_forecast", "_own_limits", "_pool", "_queue")

    def __init__(
        self,
        pool: str,
        queue: FairQueue,
        forecast: WaitForecast,
        own_limits: OwnLimits,
        binding: Callable[[Cost, int], str],
    ) -> None:
        self._pool = pool
        self._queue = queue
        self._forecast = forecast
        self._own_limits = own_limits
        self._binding = binding

    def left(self, lease_id: str, now_ns: int) -> WaitLeft | None:
        """The remaining wait of a request; None if it does not wait (any more). O(log n)."""
        waiter = self._queue.waiting.get(lease_id)
        if waiter is None:
            return None
        left_seconds, binding = self._left(waiter, now_ns)
        place = self._queue.place(self._queue.before(waiter, now_ns))
        return WaitLeft(self._pool, place, len(self._queue), left_seconds, binding)

    def snapshot(self, now_ns: int) -> QueueSnapshot:
        """All waiters by class and caller: the groups whose oldest request waits longest, and the rest as a number."""
        groups: dict[tuple[int, str], list[Waiter]] = {}
        for waiter in self._queue.waiting.values():  # in the order in which they joined
            caller = waiter.demand.caller
            groups.setdefault((caller.rank, caller.name), []).append(waiter)
        shown = heapq.nsmallest(_MOST_GROUPS, groups.values(), key=lambda group: group[0].since_ns)
        return QueueSnapshot(
            self._pool,
            len(self._queue),
            tuple(self._group(group, now_ns) for group in shown),
            len(self._queue) - sum(map(len, shown)),
        )

    def binding(self, now_ns: int) -> str:
        """The limit that the next request waits for, as in `Wait`; empty if nobody waits.

        If all are skipped, it is the one that came first.
        """
        if not self._queue.waiting:
            return ""
        head = self._queue.head(now_ns)
        waiter = next(iter(self._queue.waiting.values())) if head is None else head
        if self._own_limits.exceeded(waiter, now_ns) is not None:
            return "caller_limit"
        if self._own_limits.waits_for_budget(waiter):
            return "budget"
        return "queue" if head is None else self._binding(head.demand.cost, now_ns)

    def _group(self, waiters: list[Waiter], now_ns: int) -> WaitingGroup:
        oldest, newest = waiters[0], waiters[-1]
        next_seconds, binding = self._left(oldest, now_ns)
        last_seconds = next_seconds
        if newest is not oldest and next_seconds is not None:
            last_seconds = max(next_seconds, self._left(newest, now_ns)[0] or 0.0)
        return WaitingGroup(
            str(oldest.demand.caller.priority),
            oldest.demand.caller.name,
            len(waiters),
            sum(waiter.demand.cost.tokens for waiter in waiters),
            to_seconds(now_ns - oldest.since_ns),
            next_seconds,
            last_seconds,
            binding,
        )

    def _left(self, waiter: Waiter, now_ns: int) -> tuple[float | None, str]:
        """The seconds that a request still waits, and what binds it."""
        left_ns = self._forecast.left_ns(waiter, now_ns)
        own = self._own_limits.exceeded(waiter, now_ns)
        if own is not None and (own.wait_ns is None or own.wait_ns >= (left_ns or 0)):
            left_ns = max(left_ns or 0, own.wait_ns or 0)
            return to_seconds(left_ns), "caller_limit"
        if self._own_limits.waits_for_budget(waiter):
            return None if left_ns is None else to_seconds(left_ns), "budget"
        is_next = self._queue.service_time_ns(self._queue.before(waiter, now_ns)) == 0
        binding = self._binding(waiter.demand.cost, now_ns) if is_next else "queue"
        return None if left_ns is None else to_seconds(left_ns), binding
