"""An estimate of the work that a class admits before a new demand, from the tags of its flows."""

from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import NsPerUnit, service_time_ns
from tidegate.core.queue.flow import SESSION_DEPTH, Flow, Path, path_of
from tidegate.core.queue.waiter import Waiter

__all__ = ["work_ahead_ns", "work_before_ns"]

_MOST_COUNTED = 32
"""Up to this many rivals are looked at one by one."""


def work_ahead_ns(root: Flow, demand: Demand, rates: NsPerUnit, held: Waiter | None = None) -> int:
    """About how long the pool needs for everything in the class `root` that goes before a new demand.

    All requests of its own flow go before it. At each level above, rivals get their weighted share of that time, and
    one request each.

    Args:
        root: the flow of the class.
        demand: the new demand.
        rates: how long the pool takes to refill a unit of each dimension.
        held: a waiter that goes before the demand in any case.
    """
    path = path_of(demand)
    parents: list[Flow] = []
    node, below, ahead_ns = root, None, 0
    while True:
        if node.children is None or (demand.session_front and node.depth == SESSION_DEPTH):
            below, ahead_ns = node, _own_work_ns(node, demand, path, rates, held)
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
        ahead_ns = _with_rivals_ns(parent, below, ahead_ns, weight, rates, least)
        below = parent
    return ahead_ns


def work_before_ns(root: Flow, waiter: Waiter, flow: Flow, rates: NsPerUnit, held: Waiter | None = None) -> int:
    """About how long the pool needs for everything in the class `root` that goes before a waiter in `flow`.

    As `work_ahead_ns`, for a request that waits already: of its own flow, only what is before it counts.
    """
    ahead_ns = round(service_time_ns(flow.load, rates) * flow.share_before(waiter))
    held_ns = 0 if held is None else service_time_ns(held.demand.cost, rates)
    first = None if held is None else held.flow
    child = flow
    while child is not root and (parent := child.parent) is not None:
        while first is not None and first.depth > child.depth:
            first = first.parent
        least = (first, held_ns) if first is not None and first is not child and first.parent is parent else None
        entry = None if ahead_ns else child._entry
        ahead_ns = _with_rivals_ns(parent, child, ahead_ns, child.weight, rates, least, entry)
        child = parent
    return ahead_ns


def _own_work_ns(flow: Flow, demand: Demand, path: Path, rates: NsPerUnit, held: Waiter | None) -> int:
    """The work before a new demand in the flow that the demand will join or share with."""
    if demand.session_front and flow._path[:SESSION_DEPTH] == path[:SESSION_DEPTH]:
        return 0
    if flow._path == path or not flow.waiting:
        return service_time_ns(flow.load, rates)
    one_ns = service_time_ns(flow.load, rates) // flow.waiting  # another session or agent: they alternate
    if held is not None and held.flow is flow:
        return max(one_ns, service_time_ns(held.demand.cost, rates))
    return one_ns


def _with_rivals_ns(
    parent: Flow,
    child: Flow | None,
    ahead_ns: int,
    weight: float,
    rates: NsPerUnit,
    least: tuple[Flow, int] | None,
    entry: int | None = None,
) -> int:
    """The work before a new request of `child` among all children of `parent`.

    `ahead_ns` is the child's own work before the request. `least` is a child of which at least so much goes first.
    `entry` is the number of a child whose first request this is. It goes before rivals with the same tag and a larger
    number.

    With few rivals, each one counts with the requests that it may send before its tag passes the tag of the new
    request. With many, they count together with their weighted share of the child's own work, and one request each.
    """
    front_ns = (
        sum(service_time_ns(each.demand.cost, rates) for each in parent._waiters if each.flow is parent)
        if parent._own
        else 0
    )
    is_rival = child is not None and child.waiting > 0 and child.attached
    if parent.active - is_rival <= 0:
        return front_ns + ahead_ns
    if parent.active <= _MOST_COUNTED and parent.children is not None:
        start_ns = parent._virtual_ns
        if child is not None and child.parent is parent:
            start_ns = child._start_ns if is_rival else max(start_ns, child._finish_ns)
        return front_ns + ahead_ns + _sent_before_ns(parent, child, start_ns + ahead_ns / weight, rates, least, entry)
    rivals, others, others_ns, weights = (
        parent.active,
        parent.waiting,
        service_time_ns(parent.load, rates),
        parent._active_weight,
    )
    if child is not None and is_rival:
        rivals, others, weights = rivals - 1, others - child.waiting, weights - child.weight
        others_ns = max(0, others_ns - service_time_ns(child.load, rates))
    fair_ns = ahead_ns / weight * weights + rivals * others_ns / max(1, others)
    return ahead_ns + min(others_ns, round(fair_ns))


def _sent_before_ns(
    parent: Flow,
    child: Flow | None,
    tag_ns: float,
    rates: NsPerUnit,
    least: tuple[Flow, int] | None,
    entry: int | None,
) -> int:
    """The work of waiting requests that the other children of `parent` send before their tags pass `tag_ns`."""
    # One dimension for all, the one in which all together cost most: this loop is most of a prediction.
    costs_ns = [units * rate for units, rate in zip(parent.load, rates, strict=True)]
    index = costs_ns.index(max(costs_ns))
    rate_ns, before_ns = rates[index], 0.0
    for each in (parent.children or {}).values():
        if each._entry is None or each is child:
            continue
        sent_ns = 0.0
        lead_ns = tag_ns - each._start_ns
        is_later = lead_ns < 0 or (lead_ns == 0 and entry is not None and each._entry > entry)
        if not is_later and (load_ns := each.load[index] * rate_ns):
            requests, waiting = lead_ns * each.weight * each.waiting // load_ns + 1, each.waiting
            sent_ns = load_ns if requests >= waiting else requests * load_ns / waiting
        if least is not None and each is least[0] and sent_ns < least[1]:
            sent_ns = least[1]
        before_ns += sent_ns
    return int(before_ns)
