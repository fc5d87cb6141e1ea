"""A tree of flows: callers share a class, sessions share a caller, agents share a session, all fairly by cost.

Every level is start-time fair queueing (Goyal, Vin and Cheng, "Start-time Fair Queuing", 1996), whose bound holds for
any rate of service, and therefore also for a flow that is itself a share of another. Each child that has requests has a
start tag: the larger of its parent's virtual time and its own last finish tag. The smallest start tag goes next. Its
finish tag is the start tag plus the size of the request divided by the weight, and the parent's virtual time moves to
the start tag. A size is the time that the pool needs to refill the cost in its tightest dimension: dominant shares
(Ghodsi and others, "Multi-Resource Fair Queueing for Packet Processing", 2012).

A session has two children: its main agent (no agent id), and its subagents together. So the main agent, whose answer a
person waits for, gets half of the session, however many subagents there are.

A level exists only where it has more than one member: a caller without sessions is one flow.
"""

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Final

from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.queue.waiter import Waiter

__all__ = ["SESSION_DEPTH", "Flow", "Path", "path_of"]

Path = tuple[str, str, str, str]
"""Caller, session, role in the session, agent."""

_COMPACT_ABOVE: Final = 64
"""Void entries are tolerated up to this number plus the number of waiters."""
_MOST_IDLE: Final = 1_000
"""Number of children without requests that are remembered because they have had more than their share. Beyond that the
one with the smallest debt is forgotten: invented session ids must not fill the memory."""
_CALLER_DEPTH: Final = 1
SESSION_DEPTH: Final = 2
_NOTHING: Final = (0, 0, 0)


def path_of(demand: Demand) -> Path:
    """The place of a demand in its class."""
    agent = demand.agent
    return demand.caller.name, demand.session, "subagents" if agent else "", agent


class Flow:
    """A list of requests in order, or a share of the queue that children divide among themselves.

    O(depth × log children) to push and to serve, O(depth) to leave. The depth is 4 at most.

    Attributes:
        depth: 0 for a class, 1 for a caller, 2 for a session, 3 for a role, 4 for an agent.
        children: by name; None for a flow that has none.
        waiting: requests of this flow and of all below, without those of detached children; `load` is their cost.
        active: children that have requests.
        attached: False while the flow has no part in its parent's share.
    """

    __slots__ = (
        "_active_weight",
        "_detached",
        "_entry",
        "_finish_ns",
        "_heap",
        "_idle",
        "_numbers",
        "_own",
        "_path",
        "_pushed",
        "_start_ns",
        "_virtual_ns",
        "_waiters",
        "active",
        "attached",
        "children",
        "depth",
        "load",
        "parent",
        "waiting",
        "weight",
    )

    def __init__(self, parent: "Flow | None" = None, path: Path | None = None, weight: float = 1.0) -> None:
        self.parent = parent
        self.depth: int = 0 if parent is None else parent.depth + 1
        self.weight = weight
        self.children: dict[str, Flow] | None = {} if parent is None else None
        self.waiting = 0
        self.load = [0, 0, 0]
        self.active = 0
        self.attached = True
        self._active_weight = 0.0
        self._detached = 0  # children that are detached
        self._path = path or ("", "", "", "")
        self._waiters: deque[Waiter] = deque()  # requests in this flow itself; some may have left
        self._own = 0  # of those, how many have not left
        self._pushed = 0  # the number of the last of them
        self._heap: list[tuple[float, int, Flow]] = []  # children by start tag; an entry with an old number is void
        self._idle: list[tuple[float, int, Flow]] = []  # children without requests by finish tag
        self._numbers: count[int] = count() if parent is None else parent._numbers
        self._entry: int | None = None
        self._start_ns = 0.0
        self._finish_ns = 0.0
        self._virtual_ns = 0.0

    def push(self, waiter: Waiter) -> bool:
        """Adds a waiter to the flow of its demand. Returns whether it may be the next of this class."""
        demand = waiter.demand
        flow = self._flow_for(demand)
        waiter.flow = flow
        flow._own += 1
        if demand.session_front:
            while flow._waiters and flow._waiters[0].flow is not flow:
                flow._waiters.popleft()
            waiter.number = flow._waiters[0].number - 1 if flow._waiters else flow._pushed
            flow._waiters.appendleft(waiter)
        else:
            flow._pushed += 1
            waiter.number = flow._pushed
            flow._waiters.append(waiter)
        is_first = demand.session_front or flow._own == 1
        requests, input_tokens, output_tokens = demand.cost
        node: Flow | None = flow
        while node is not None:
            node.waiting += 1
            load = node.load
            load[0] += requests
            load[1] += input_tokens
            load[2] += output_tokens
            parent = node.parent
            if not node.attached:
                break
            if node.waiting == 1 and parent is not None:
                parent._activate(node)
            node = parent
        return is_first

    def head(self) -> Waiter | None:
        """The request that goes next; None if none waits."""
        flow = self
        while True:
            if flow._own:
                waiters = flow._waiters
                while waiters[0].flow is not flow:
                    waiters.popleft()
                return waiters[0]
            if not flow.active:
                return None
            flow = flow._first()

    def share_before(self, waiter: Waiter) -> float:
        """The approximate share of this flow's own requests that goes before one of them, from 0 to 1.

        Requests that have left are taken to have left evenly from all places.
        """
        while self._waiters[0].flow is not self:
            self._waiters.popleft()
        first = self._waiters[0].number
        return (waiter.number - first) / (self._pushed - first + 1)

    def serve(self, waiter: Waiter, takes_ns: int) -> None:
        """Takes out a waiter of this flow that is admitted. Its agent, session and caller pay `takes_ns` for it."""
        _take_out(waiter, self)
        node = self
        while (parent := node.parent) is not None:
            parent._serve_child(node, takes_ns)
            node = parent

    def remove(self, waiter: Waiter) -> None:
        """Takes out a waiter of this flow that leaves. Nobody pays for it."""
        _take_out(waiter, self)
        node = self
        while (parent := node.parent) is not None:
            if not node.waiting:
                parent._retire(node)
            node = parent

    def detach(self, name: str) -> None:
        """Takes a caller with all its requests out of the class until it is attached again."""
        flow = self._caller(name)
        if flow is not None and flow.attached:
            flow.attached = False
            self._detached += 1
            self._add(flow, -1)
            if flow.waiting:
                self._deactivate(flow)

    def attach(self, name: str) -> None:
        """Brings a caller back. It starts where the others are: it has saved nothing meanwhile."""
        flow = self._caller(name)
        if flow is not None and not flow.attached:
            flow.attached = True
            self._detached -= 1
            self._add(flow, 1)
            if flow.waiting:
                self._activate(flow)
            else:
                self._retire(flow)

    def callers(self) -> Iterator[tuple[str, "Flow"]]:
        """Each caller's flow by name, including detached ones."""
        return iter((self.children or {}).items())

    def load_of(self, name: str) -> tuple[int, Sequence[int]]:
        """The number of a caller's waiting requests, and their estimated cost in each dimension."""
        flow = self._caller(name)
        return (0, _NOTHING) if flow is None else (flow.waiting, flow.load)

    def reprice(self, before: Cost, after: Cost) -> None:
        """The estimated cost of a waiter of this flow has changed."""
        node: Flow | None = self
        while node is not None:
            for index, units in enumerate(after):
                node.load[index] += units - before[index]
            node = node.parent if node.attached else None

    def clear(self) -> None:
        """Forgets all children of an empty flow. Old tags are void, unless a detached child keeps its own."""
        if self._detached:
            return
        self._virtual_ns = 0.0
        if self.children:
            self.children = {} if self.parent is None else None
            self._heap.clear()
            self._idle.clear()

    def _caller(self, name: str) -> "Flow | None":
        return self.children.get(name) if self.children else None

    def _flow_for(self, demand: Demand) -> "Flow":
        """The flow for the demand, made if necessary; the flow of its session, if it goes to the front of it."""
        path = path_of(demand)
        node = self
        while node.children is not None:
            if demand.session_front and node.depth == SESSION_DEPTH:
                return node
            key = path[node.depth]
            child = node.children.get(key)
            if child is None:
                child = node.children[key] = Flow(node)
            if not child.waiting:
                child._path = path
            elif child.children is None and child._path != path:
                child = node.children[key] = node._divide(child)
            if child.depth == _CALLER_DEPTH and child.weight != demand.caller.weight:
                node._reweigh(child, demand.caller.weight)
            node = child
        return node

    def _divide(self, child: "Flow") -> "Flow":
        """Puts a level between this flow and its child, which keeps its requests and its order."""
        level = Flow(self, child._path, child.weight)
        level.children = {child._path[level.depth]: child}
        level.waiting, level.load = child.waiting, list(child.load)
        level.attached, child.attached = child.attached, True
        level._start_ns, level._finish_ns = child._start_ns, child._finish_ns
        if level.attached:
            self._enter(level, level._start_ns)
        child.parent, child.depth, child.weight = level, level.depth + 1, 1.0
        child._finish_ns = 0.0
        level.active, level._active_weight = 1, 1.0
        level._enter(child, 0.0)
        return level

    def _reweigh(self, child: "Flow", weight: float) -> None:
        """Changes the weight of a caller. Its next request keeps its start tag; those after it go by the new weight."""
        if child._entry is not None:
            self._active_weight += weight - child.weight
        child.weight = weight

    def _first(self) -> "Flow":
        """The child with the smallest start tag; there must be an active one."""
        heap = self._heap
        while True:
            _, number, child = heap[0]
            if number == child._entry:
                return child
            heapq.heappop(heap)

    def _activate(self, child: "Flow") -> None:
        self.active += 1
        self._active_weight += child.weight
        self._enter(child, max(self._virtual_ns, child._finish_ns))

    def _deactivate(self, child: "Flow") -> None:
        self.active -= 1
        self._active_weight = self._active_weight - child.weight if self.active else 0.0
        child._entry = None

    def _serve_child(self, child: "Flow", takes_ns: int) -> None:
        """A request of the child was served: the child pays, and later requests start no earlier than it did."""
        self._virtual_ns = virtual_ns = max(self._virtual_ns, child._start_ns)
        child._finish_ns = child._start_ns + takes_ns / child.weight
        if child._entry is not None:
            self._enter(child, child._finish_ns)
        else:
            self._retire(child)
        idle = self._idle
        while idle and (idle[0][0] <= virtual_ns or len(idle) > _MOST_IDLE):
            finish_ns, _, old = heapq.heappop(idle)
            if not old.waiting and old._finish_ns == finish_ns:
                self._forget(old)

    def _retire(self, child: "Flow") -> None:
        """The child has no requests any more. Remembers it as long as it has had more than its share."""
        if not self.waiting and not self._detached:
            self.clear()
            return
        if child._finish_ns > self._virtual_ns and child.attached:
            heapq.heappush(self._idle, (child._finish_ns, next(self._numbers), child))
        elif child.attached:
            self._forget(child)

    def _forget(self, child: "Flow") -> None:
        if self.children is not None and self.children.get(key := child._path[self.depth]) is child:
            del self.children[key]

    def _add(self, child: "Flow", times: int) -> None:
        self.waiting += times * child.waiting
        for index, units in enumerate(child.load):
            self.load[index] += times * units

    def _enter(self, child: "Flow", start_ns: float) -> None:
        child._start_ns = start_ns
        child._entry = number = next(self._numbers)
        heap = self._heap
        entry = (start_ns, number, child)
        if heap and heap[0][2] is child:
            heapq.heapreplace(heap, entry)  # its old entry is void now
        else:
            heapq.heappush(heap, entry)
        if len(heap) > 2 * self.active + _COMPACT_ABOVE:
            self._heap = [each for each in heap if each[1] == each[2]._entry]
            heapq.heapify(self._heap)


def _take_out(waiter: Waiter, flow: Flow) -> None:
    """Takes a waiter out of its flow and out of the counts of all flows above."""
    waiter.flow = None
    flow._own -= 1
    requests, input_tokens, output_tokens = waiter.demand.cost
    node: Flow | None = flow
    while node is not None:
        node.waiting -= 1
        load = node.load
        load[0] -= requests
        load[1] -= input_tokens
        load[2] -= output_tokens
        parent = node.parent
        if not node.waiting:
            node.clear()
            if parent is not None and node.attached:
                parent._deactivate(node)
        if not node.attached:
            break
        node = parent
    if len(flow._waiters) > 2 * flow._own + _COMPACT_ABOVE:
        flow._waiters = deque(other for other in flow._waiters if other.flow is flow)
