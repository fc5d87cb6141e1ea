"""The queue of a pool: fair by cost between callers, first in first out within a caller.

Start-time fair queueing (Goyal, Vin and Cheng, "Start-time Fair Queuing", 1996): the first waiter of each caller has a
start tag, the larger of the queue's virtual time and its caller's last finish tag; being admitted moves the finish tag
by the waiter's size divided by the caller's weight. The smallest start tag goes next, so callers share by weight,
however many requests each sends; a caller alone gets everything; who leaves unserved has cost its caller nothing.
"""

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count

from tidegate.core.caller import Caller, Priority
from tidegate.core.dimension import Cost
from tidegate.core.store import Demand

__all__ = ["FairQueue", "Waiter"]

_COMPACT_ABOVE = 64
_LEAST_SIZE_NS = 1_000_000
"""Callers take turns also where no limit is known, and nothing costs anything."""


class Waiter:
    """Somebody in the queue.

    Attributes:
        formula_ns: how long it should have to wait, uncorrected by experience.
        since_ns: when it came.
    """

    __slots__ = ("demand", "formula_ns", "lease_id", "left", "since_ns")

    def __init__(self, lease_id: str, demand: Demand, formula_ns: int = 0, since_ns: int = 0) -> None:
        self.lease_id = lease_id
        self.demand = demand
        self.formula_ns = formula_ns
        self.since_ns = since_ns
        self.left = False


class _Line:
    """One caller's waiters in their order; some may have left. `waiting` and `cost` count those who have not."""

    __slots__ = ("cost", "entry", "finish_ns", "waiters", "waiting", "weight")

    def __init__(self, weight: float) -> None:
        self.weight = weight
        self.waiters: deque[Waiter] = deque()
        self.waiting = 0
        self.cost = Cost()
        self.finish_ns = 0.0
        self.entry = -1  # number of its entry in the heap that counts; earlier ones are void

    def head(self) -> Waiter | None:
        while self.waiters and self.waiters[0].left:
            self.waiters.popleft()
        return self.waiters[0] if self.waiters else None

    def compact(self) -> None:
        """Forgets who left, once they are more than half."""
        if len(self.waiters) > 2 * self.waiting + _COMPACT_ABOVE:
            self.waiters = deque(waiter for waiter in self.waiters if not waiter.left)


class FairQueue:
    """Waiters in the order in which they will be admitted; O(log callers) each to push and pop, O(1) to remove.

    Attributes:
        depth: how many wait, by priority class.
        tokens: tokens that they will probably cost, by priority class.
        waiting: who waits, by lease id; to be read only.
    """

    def __init__(self) -> None:
        self.depth = dict.fromkeys(Priority, 0)
        self.tokens = dict.fromkeys(Priority, 0)
        self.waiting: dict[str, Waiter] = {}
        self._front: deque[Waiter] = deque()
        self._lines: dict[str, _Line] = {}
        self._heap: list[tuple[float, int, _Line]] = []  # each line that has waiters, by the start tag of its head
        self._sequence = count()
        self._virtual_ns = 0.0
        self._cost = Cost()
        self._active_lines = 0
        self._active_weight = 0.0

    def __len__(self) -> int:
        return len(self.waiting)

    def by_caller(self) -> dict[str, int]:
        """How many wait, by name of the caller."""
        return {name: line.waiting for name, line in self._lines.items() if line.waiting}

    def ahead_ns(self, caller: Caller, size_ns: Callable[[Cost], int]) -> int:
        """About how long the pool needs for all that goes before a new waiter of this caller.

        All of its own, and of others no more than fairness lets go ahead meanwhile: their weighted share of that, and
        one request each. `size_ns` says how long the pool needs for a cost.
        """
        line = self._lines.get(caller.name)
        own, own_waiting = (line.cost, line.waiting) if line else (Cost(), 0)
        others_waiting = len(self.waiting) - own_waiting
        own_ns = size_ns(own)
        if not others_waiting:
            return own_ns
        others_ns = size_ns(self._cost.minus(own))
        rivals = self._active_lines - (own_waiting > 0)
        rival_weight = self._active_weight - (caller.weight if own_waiting else 0.0)
        fair_ns = own_ns / caller.weight * rival_weight + rivals * others_ns / others_waiting
        return own_ns + min(others_ns, round(fair_ns))

    def push(self, waiter: Waiter) -> None:
        """Adds a waiter behind its caller's others, or ahead of all if its demand says `front`."""
        self.waiting[waiter.lease_id] = waiter
        line = self._count(waiter, 1)
        if waiter.demand.front:
            self._front.append(waiter)
            return
        was_empty = line.head() is None
        line.waiters.append(waiter)
        if was_empty:
            self._enter(line)

    def head(self) -> Waiter | None:
        """Who goes next; None if nobody waits."""
        while self._front and self._front[0].left:
            self._front.popleft()
        if self._front:
            return self._front[0]
        while self._heap:
            _, number, line = self._heap[0]
            waiter = line.head()
            if waiter is not None and number == line.entry:
                return waiter
            heapq.heappop(self._heap)
        return None

    def pop(self, size_ns: int) -> Waiter:
        """Takes out the head, and has its caller pay for this size: what is known of limits may have changed meanwhile.

        Raises:
            IndexError: nobody waits.
        """
        waiter = self.head()
        if waiter is None:
            raise IndexError("pop from an empty queue")
        if self._front:
            self._front.popleft()
        else:
            start_ns, _, line = heapq.heappop(self._heap)
            line.waiters.popleft()
            self._virtual_ns = max(self._virtual_ns, start_ns)
            line.finish_ns = start_ns + max(size_ns, _LEAST_SIZE_NS) / line.weight
            if line.head() is not None:
                self._enter(line)
        self._forget(waiter)
        return waiter

    def remove(self, lease_id: str) -> Waiter | None:
        """Takes out a waiter wherever it stands; None if it does not wait."""
        waiter = self.waiting.get(lease_id)
        if waiter is not None:
            waiter.left = True
            self._forget(waiter)
        return waiter

    def _enter(self, line: _Line) -> None:
        line.entry = next(self._sequence)
        heapq.heappush(self._heap, (max(self._virtual_ns, line.finish_ns), line.entry, line))
        if len(self._heap) > 2 * self._active_lines + _COMPACT_ABOVE:
            self._heap = [entry for entry in self._heap if entry[1] == entry[2].entry]
            heapq.heapify(self._heap)

    def _forget(self, waiter: Waiter) -> None:
        del self.waiting[waiter.lease_id]
        self._count(waiter, -1).compact()
        if len(self._front) > 2 * len(self.waiting) + _COMPACT_ABOVE:
            self._front = deque(other for other in self._front if not other.left)
        if not self.waiting:
            # Nobody waits: old tags mean nothing any more, and callers who left must not be remembered for ever.
            self._virtual_ns = 0.0
            self._active_weight = 0.0
            self._lines.clear()
            self._heap.clear()
            self._front.clear()

    def _count(self, waiter: Waiter, sign: int) -> _Line:
        caller, cost = waiter.demand.caller, waiter.demand.cost
        line = self._lines.get(caller.name)
        if line is None:
            line = self._lines[caller.name] = _Line(caller.weight)
        line.waiting += sign
        line.cost = line.cost.plus(cost, sign)
        if line.waiting == (1 if sign > 0 else 0):
            self._active_lines += sign
            self._active_weight += sign * line.weight
        self._cost = self._cost.plus(cost, sign)
        self.depth[caller.priority] += sign
        self.tokens[caller.priority] += sign * (cost.input_tokens + cost.output_tokens)
        return line
