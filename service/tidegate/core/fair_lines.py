"""The waiters of one priority class: fair by cost between callers, first in first out within a caller.

Start-time fair queueing (Goyal, Vin and Cheng, "Start-time Fair Queuing", 1996): the first waiter of each caller has a
start tag, the larger of the class's virtual time and its caller's last finish tag; being admitted moves the finish tag
by the waiter's size divided by the caller's weight. The smallest start tag goes next, so callers share by weight,
however many requests each sends; a caller alone gets everything; who leaves unserved has cost its caller nothing. A
size is the time that the pool needs to refill the cost in its tightest dimension: dominant shares, as in Ghodsi and
others, "Multi-Resource Fair Queueing for Packet Processing", 2012.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final

from tidegate.core.caller import Caller
from tidegate.core.dimension import Cost
from tidegate.core.store import Demand

__all__ = ["COMPACT_ABOVE", "FairLines", "Line", "Waiter"]

COMPACT_ABOVE: Final = 64
"""Entries of those who left are tolerated up to this many, and as many as there are waiters."""


class Waiter:
    """Somebody in the queue.

    Attributes:
        formula_ns: how long it should have to wait, uncorrected by experience; 0 if nothing was known.
        alone_ns: the same, if others on the key took nothing.
        basis: a number for the rates that both relied on.
        since_ns: when it came.
        priced_ns: when its cost was estimated.
        line: where it stands; None once it has left.
    """

    __slots__ = ("alone_ns", "basis", "demand", "formula_ns", "lease_id", "line", "priced_ns", "since_ns")

    def __init__(self, lease_id: str, demand: Demand, since_ns: int = 0) -> None:
        self.lease_id = lease_id
        self.demand = demand
        self.formula_ns = self.alone_ns = self.basis = 0
        self.since_ns = self.priced_ns = since_ns
        self.line: Line | None = None

    def left_ns(self, now_ns: int) -> float:
        """How much longer it waits."""
        patience_ns = self.demand.patience_ns
        return math.inf if patience_ns is None else self.since_ns + patience_ns - now_ns


class Line:
    """One caller's waiters of one class, in their order; some may have left.

    Attributes:
        home: the class.
        number: unique among all lines of a queue.
        load: what those who have not left will cost together, in each dimension; `waiting` counts them.
        start_ns: start tag of the head.
    """

    __slots__ = ("entry", "finish_ns", "home", "load", "number", "start_ns", "waiters", "waiting", "weight")

    def __init__(self, home: "FairLines", caller: Caller, number: int) -> None:
        self.home = home
        self.weight = caller.weight
        self.number = number
        self.waiters: deque[Waiter] = deque()
        self.waiting = 0
        self.load = [0, 0, 0]
        self.start_ns = 0.0
        self.finish_ns = 0.0
        self.entry: int | None = None  # number of its entry in the heap that counts; others are void

    def head(self) -> Waiter | None:
        """The first of those who have not left."""
        while self.waiters and self.waiters[0].line is None:
            self.waiters.popleft()
        return self.waiters[0] if self.waiters else None


class FairLines:
    """The lines of one class; O(log callers) to push and to serve, O(1) to leave.

    Attributes:
        rank: 0 goes first.
        by_caller: each line, by the caller's name.
        waiting: how many wait; `load` is what they will cost.
    """

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.by_caller: dict[str, Line] = {}
        self.waiting = 0
        self.load = [0, 0, 0]
        self._heap: list[tuple[float, int, Line]] = []  # each line that has waiters, by the start tag of its head
        self._sequence = count()
        self._virtual_ns = 0.0
        self._active_lines = 0
        self._active_weight = 0.0

    def push(self, waiter: Waiter, line: Line) -> bool:
        """Adds a waiter at the end of its line; whether it is the line's first."""
        waiter.line = line
        line.waiters.append(waiter)
        line.waiting += 1
        self.waiting += 1
        own, load = line.load, self.load
        requests, input_tokens, output_tokens = waiter.demand.cost
        own[0] += requests
        load[0] += requests
        own[1] += input_tokens
        load[1] += input_tokens
        own[2] += output_tokens
        load[2] += output_tokens
        if line.waiting > 1:
            return False
        self._active_lines += 1
        self._active_weight += line.weight
        self._enter(line, max(self._virtual_ns, line.finish_ns))
        return True

    def first(self) -> Line:
        """The line whose head goes next; there must be one with waiters that is not held."""
        while True:
            _, number, line = self._heap[0]
            if number == line.entry and line.waiting:
                return line
            heapq.heappop(self._heap)

    def hold(self, line: Line) -> None:
        """Keeps a line's place: nobody is first because of a smaller tag until it is served or let go."""
        line.entry = None

    def let_go(self, line: Line) -> None:
        """The head of a line that was held has left: the next one, if any, takes its tag."""
        if line.waiting:
            self._enter(line, line.start_ns)

    def serve(self, waiter: Waiter, line: Line, size_ns: int, *, in_turn: bool) -> None:
        """Takes out the head of a line, and has its caller pay for this size.

        `in_turn`: it was the first, so that those who come later start no earlier than it did.
        """
        if in_turn:
            self._virtual_ns = max(self._virtual_ns, line.start_ns)
        line.finish_ns = line.start_ns + size_ns / line.weight
        self.leave(waiter, line)
        if line.waiting:
            self._enter(line, max(self._virtual_ns, line.finish_ns))

    def leave(self, waiter: Waiter, line: Line) -> None:
        """A waiter waits no more, wherever it stands in its line."""
        waiter.line = None
        line.waiting -= 1
        self.waiting -= 1
        own, load = line.load, self.load
        requests, input_tokens, output_tokens = waiter.demand.cost
        own[0] -= requests
        load[0] -= requests
        own[1] -= input_tokens
        load[1] -= input_tokens
        own[2] -= output_tokens
        load[2] -= output_tokens
        if not line.waiting:
            self._active_lines -= 1
            self._active_weight -= line.weight
        if len(line.waiters) > 2 * line.waiting + COMPACT_ABOVE:
            line.waiters = deque(other for other in line.waiters if other.line is not None)

    def reprice(self, line: Line, before: Cost, after: Cost) -> None:
        """A waiter of a line costs something else now."""
        for load in (line.load, self.load):
            for index, units in enumerate(after):
                load[index] += units - before[index]

    def ahead_ns(self, caller: Caller, size_ns: Callable[[Sequence[int]], int]) -> int:
        """About how long the pool needs for all of this class that goes before a new waiter of this caller.

        All of its own, and of others no more than fairness lets go ahead meanwhile: their weighted share of that, and
        one request each. `size_ns` says how long the pool needs for a cost.
        """
        line = self.by_caller.get(caller.name)
        if line is None or not line.waiting:
            own, own_ns, rivals, rival_weight = 0, 0, self._active_lines, self._active_weight
        else:
            own, own_ns = line.waiting, size_ns(line.load)
            rivals, rival_weight = self._active_lines - 1, self._active_weight - line.weight
        if not rivals:
            return own_ns
        others_ns = size_ns(self.load) - own_ns
        fair_ns = own_ns / caller.weight * rival_weight + rivals * others_ns / (self.waiting - own)
        return own_ns + min(others_ns, round(fair_ns))

    def clear(self) -> None:
        """Nobody of the queue waits: forgets all lines."""
        if self.by_caller:
            self.by_caller.clear()
            self._heap.clear()
            self._virtual_ns = 0.0
            self._active_weight = 0.0

    def _enter(self, line: Line, start_ns: float) -> None:
        line.start_ns = start_ns
        line.entry = next(self._sequence)
        entry = (start_ns, line.entry, line)
        if self._heap and self._heap[0][2] is line:
            heapq.heapreplace(self._heap, entry)  # what stands there is void now
        else:
            heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * self._active_lines + COMPACT_ABOVE:
            self._heap = [entry for entry in self._heap if entry[1] == entry[2].entry and entry[2].waiting]
            heapq.heapify(self._heap)
