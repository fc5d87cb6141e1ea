"""A tree of flows: callers share a class, sessions share a caller, agents share a session, all fairly by cost.

Every level is start-time fair queueing (Goyal, Vin and Cheng, "Start-time Fair Queuing", 1996), whose bound holds for
any rate of service, and therefore also for a flow that is itself a share of another. Each child that has requests has a
start tag: the larger of its parent's virtual time and its own last finish tag. The smallest start tag goes next. Its
finish tag is the start tag plus the size of the request divided by the weight, and the parent's virtual time moves to
the start tag. A size is the time that the pool needs to refill the cost in its tightest dimension: dominant shares
(Ghodsi and others, "Multi-Resource Fair Queueing for Packet Processing", 2012).

A session has two children: its main agent (no agent id), and its subagents together. So the turn that a person waits
for gets half of the session, however many subagents there are.

A level exists only where it has more than one member: a caller without sessions is one flow.
"""

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Final

from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost, NsPerUnit, service_time_ns
from tidegate.core.queue.waiter import Waiter

__all__ = ["Flow", "Path", "path_of"]

Path = tuple[str, str, str, str]
"""Caller, session, role in the session, agent."""

_COMPACT_ABOVE: Final = 64
"""Entries of those who left are tolerated up to this many, and as many as there are waiters."""
_MOST_IDLE: Final = 1_000
"""Children without requests that are remembered because they have had more than their share. Beyond that the one with
the smallest debt is forgotten: invented sessions must not fill the memory."""
_MOST_COUNTED: Final = 32
"""Up to so many rivals are looked at one by one for a prediction."""
_CALLER: Final = 1
_SESSION: Final = 2
_NOTHING: Final = (0, 0, 0)


def path_of(demand: Demand) -> Path:
    """The place of a demand in its class."""
    agent = demand.agent
    return demand.caller.name, demand.session, "subagents" if agent else "", agent


class Flow:
    """Requests in their order, or a share of the queue that children divide among themselves.

    O(depth × log children) to push and to serve, O(depth) to leave. The depth is 4 at most.

    Attributes:
        depth: 0 for a class, 1 for a caller, 2 for a session, 3 for a role, 4 for an agent.
        children: by name; None for a flow that has none.
        waiting: requests of this flow and of all below, without those of detached children; `load` is their cost.
        active: children that have requests.
        attached: False while the flow takes no part in its parent's share.
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
        self._waiters: deque[Waiter] = deque()  # requests that stand here; some may have left
        self._own = 0  # of those, how many have not left
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
            flow._waiters.appendleft(waiter)
        else:
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

    def serve(self, waiter: Waiter, takes_ns: int) -> None:
        """Takes out a waiter of this flow. Its agent, session and caller pay the time that the pool takes for it."""
        _take_out(waiter, self)
        node = self
        while (parent := node.parent) is not None:
            parent._serve_child(node, takes_ns)
            node = parent

    def remove(self, waiter: Waiter) -> None:
        """Takes out a waiter of this flow that leaves unserved. Nobody pays for it."""
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
        """Brings a caller back. It starts where the others are: nothing was saved up meanwhile."""
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
        """Each caller's flow by name, also of those that are detached."""
        return iter((self.children or {}).items())

    def load_of(self, name: str) -> tuple[int, Sequence[int]]:
        """How many requests of a caller wait, and what they will cost in each dimension."""
        flow = self._caller(name)
        return (0, _NOTHING) if flow is None else (flow.waiting, flow.load)

    def ahead_ns(self, demand: Demand, rates: NsPerUnit, held: Waiter | None = None) -> int:
        """About how long the pool needs for all of this class that goes before a new demand.

        Of its own flow all. At each level above, of the rivals no more than fairness lets go meanwhile: their weighted
        share of that, and one request each. `rates` say how long the pool takes for a unit. `held` goes in any case.
        """
        path = path_of(demand)
        parents: list[Flow] = []
        node, below, ahead_ns = self, None, 0
        while True:
            if node.children is None or (demand.session_front and node.depth == _SESSION):
                below, ahead_ns = node, node._own_ahead_ns(demand, path, rates, held)
                break
            parents.append(node)
            child = node.children.get(path[node.depth])
            if child is None:
                break
            node = child
        held_ns = 0 if held is None else service_time_ns(held.demand.cost, rates)
        first = None if held is None else held.flow
        for parent in reversed(parents):
            while first is not None and first.depth > parent.depth + 1:
                first = first.parent
            weight = demand.caller.weight if parent.depth == 0 else 1.0
            least = (first, held_ns) if first is not None and first.parent is parent else None
            ahead_ns = parent._ahead_of_child_ns(below, ahead_ns, weight, rates, least)
            below = parent
        return ahead_ns

    def reprice(self, before: Cost, after: Cost) -> None:
        """A waiter that stands in this flow costs something else now."""
        node: Flow | None = self
        while node is not None:
            for index, units in enumerate(after):
                node.load[index] += units - before[index]
            if not node.attached:
                break
            node = node.parent

    def clear(self) -> None:
        """Nobody waits: forgets all children. Old tags mean nothing any more, unless a detached child keeps its own."""
        if self._detached:
            return
        self._virtual_ns = 0.0
        if self.children:
            self.children = {} if self.parent is None else None
            self._heap.clear()
            self._idle.clear()
            self.active = 0
            self._active_weight = 0.0

    def _caller(self, name: str) -> "Flow | None":
        return self.children.get(name) if self.children else None

    def _own_ahead_ns(self, demand: Demand, path: Path, rates: NsPerUnit, held: Waiter | None) -> int:
        """What goes before a new demand of those that stand in the flow that the demand will join or share with."""
        if demand.session_front and self._path[:_SESSION] == path[:_SESSION]:
            return 0
        if self._path == path or not self.waiting:
            return service_time_ns(self.load, rates)
        one_ns = service_time_ns(self.load, rates) // self.waiting  # another session or agent: they take turns
        return (
            max(one_ns, service_time_ns(held.demand.cost, rates)) if held is not None and held.flow is self else one_ns
        )

    def _flow_for(self, demand: Demand) -> "Flow":
        """The flow in which the demand stands, made if need be; that of its session, if it goes to the front of it."""
        path = path_of(demand)
        node = self
        while node.children is not None:
            if demand.session_front and node.depth == _SESSION:
                return node
            key = path[node.depth]
            child = node.children.get(key)
            if child is None:
                child = node.children[key] = Flow(node, path)
            if not child.waiting:
                child._path = path
                if child.depth == _CALLER:
                    child.weight = demand.caller.weight
            elif child.children is None and child._path != path:
                child = node.children[key] = node._divide(child)
            node = child
        return node

    def _divide(self, child: "Flow") -> "Flow":
        """Puts a level between this flow and its child, which keeps its requests and its order."""
        level = Flow(self, child._path, child.weight)
        level.children = {child._path[level.depth]: child}
        level.waiting, level.load = child.waiting, list(child.load)
        level.attached, child.attached = child.attached, True
        level._start_ns, level._finish_ns = child._start_ns, child._finish_ns
        if child._entry is not None and level.attached:
            self._enter(level, level._start_ns)
        child.parent, child.depth, child.weight = level, level.depth + 1, 1.0
        child._start_ns = child._finish_ns = 0.0
        level.active, level._active_weight = 1, 1.0
        level._enter(child, 0.0)
        return level

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
        """A request of the child was served: the child pays, and whoever comes later starts no earlier than it did."""
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
        """The child has no requests any more: remembers it as long as it has had more than its share."""
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

    def _ahead_of_child_ns(
        self,
        child: "Flow | None",
        ahead_ns: int,
        weight: float,
        rates: NsPerUnit,
        least: "tuple[Flow, int] | None",
    ) -> int:
        """What goes before a new request of the child, if so much of the child's own goes before it.

        `least`: a child of which so much goes first in any case.

        Of each rival what it may send before its tag passes the one of the new request. Where there are many rivals,
        about their weighted share of the child's own, and one request each.
        """
        front_ns = (
            sum(service_time_ns(each.demand.cost, rates) for each in self._waiters if each.flow is self)
            if self._own
            else 0
        )
        is_rival = child is not None and child.waiting > 0 and child.attached
        if self.active - is_rival <= 0:
            return front_ns + ahead_ns
        if self.active <= _MOST_COUNTED and self.children is not None:
            start_ns = self._virtual_ns
            if child is not None and child.parent is self:
                start_ns = child._start_ns if is_rival else max(start_ns, child._finish_ns)
            tag_ns = start_ns + ahead_ns / weight
            # One dimension for all, the one in which all together cost most: this loop is most of a prediction.
            costs_ns = [units * rate for units, rate in zip(self.load, rates, strict=True)]
            index = costs_ns.index(max(costs_ns))
            rate_ns, before_ns = rates[index], 0.0
            for each in self.children.values():
                if each._entry is None or each is child:
                    continue
                sent_ns = 0.0
                if (lead_ns := tag_ns - each._start_ns) >= 0 and (load_ns := each.load[index] * rate_ns):
                    # What it sends until its start tag passes the one of the new request, of what waits now.
                    turns, waiting = lead_ns * each.weight * each.waiting // load_ns + 1, each.waiting
                    sent_ns = load_ns if turns >= waiting else turns * load_ns / waiting
                if least is not None and each is least[0] and sent_ns < least[1]:
                    sent_ns = least[1]
                before_ns += sent_ns
            return front_ns + ahead_ns + int(before_ns)
        rivals, others, others_ns, weights = (
            self.active,
            self.waiting,
            service_time_ns(self.load, rates),
            self._active_weight,
        )
        if child is not None and is_rival:
            rivals, others, weights = rivals - 1, others - child.waiting, weights - child.weight
            others_ns = max(0, others_ns - service_time_ns(child.load, rates))
        fair_ns = ahead_ns / weight * weights + rivals * others_ns / max(1, others)
        return ahead_ns + min(others_ns, round(fair_ns))

    def _enter(self, child: "Flow", start_ns: float) -> None:
        child._start_ns = start_ns
        child._entry = number = next(self._numbers)
        heap = self._heap
        entry = (start_ns, number, child)
        if heap and heap[0][2] is child:
            heapq.heapreplace(heap, entry)  # what stands there is void now
        else:
            heapq.heappush(heap, entry)
        if len(heap) > 2 * self.active + _COMPACT_ABOVE:
            self._heap = [each for each in heap if each[1] == each[2]._entry]
            heapq.heapify(self._heap)


def _take_out(waiter: Waiter, flow: Flow) -> None:
    """Takes a waiter out of its flow, and out of the counts of all flows above."""
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
