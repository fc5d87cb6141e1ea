"""An estimate of the work that a class admits before a demand, from the tags of its flows.

Work is counted in units of each dimension, not in time: requests of one caller may be short of another dimension than
those of the next, and then both take less time together than one after the other.
"""

from collections.abc import Sequence
from operator import sub
from typing import Final

from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost, NsPerUnit, service_time_ns
from tidegate.core.queue.arrivals import ClassArrivals
from tidegate.core.queue.flow import SESSION_DEPTH, Flow, Path, path_of
from tidegate.core.queue.waiter import Waiter

__all__ = ["NO_WORK", "Work", "plus", "work_ahead", "work_before"]

Work = tuple[float, float, float]
"""Units in each dimension, in the order of `Cost`. Parts of requests are possible, because all of it is estimated."""

NO_WORK: Final[Work] = (0.0, 0.0, 0.0)
_MOST_COUNTED: Final = 32
"""Up to this many rivals are looked at one by one."""
_ROUNDS: Final = 6
"""Number of times that the wait is computed anew with what arrives during it. Each round adds less than the last."""


def plus(work: Work, other: Sequence[float], times: float = 1.0) -> Work:
    """The sum per dimension, with `times` times the other."""
    return work[0] + times * other[0], work[1] + times * other[1], work[2] + times * other[2]


def work_ahead(
    root: Flow, demand: Demand, rates: NsPerUnit, held: Waiter | None = None, arrivals: ClassArrivals | None = None
) -> Work:
    """The approximate work in the class `root` that goes before a new demand.

    All requests of its own flow go before it. At each level above, rivals get their weighted share of that time, and
    one request each.

    Args:
        root: the flow of the class.
        demand: the new demand.
        rates: how long the pool takes to refill a unit of each dimension.
        held: a waiter that goes before the demand in any case.
        arrivals: how often requests of each caller join the class; None: only what waits now is counted.
    """
    path = path_of(demand)
    parents: list[Flow] = []
    node, below, ahead = root, None, NO_WORK
    while True:
        if node.children is None or (demand.session_front and node.depth == SESSION_DEPTH):
            below, ahead = node, _own_work(node, demand, path, rates, held)
            break
        parents.append(node)
        child = node.children.get(path[node.depth])
        if child is None:
            break
        node = child
    for parent in reversed(parents):
        weight = demand.caller.weight if parent.depth == 0 else 1.0
        ahead = _with_rivals(parent, below, ahead, weight, rates, held, arrivals=arrivals)
        below = parent
    return ahead


def work_before(
    root: Flow,
    waiter: Waiter,
    flow: Flow,
    rates: NsPerUnit,
    held: Waiter | None = None,
    arrivals: ClassArrivals | None = None,
) -> Work:
    """The approximate work in the class `root` that goes before a waiter in `flow`.

    As `work_ahead`, for a request that waits already: of its own flow, only what is before it counts.
    """
    share = flow.share_before(waiter)
    ahead = plus(NO_WORK, flow.load, share)
    child = flow
    while child is not root and (parent := child.parent) is not None:
        entry = None if any(ahead) else child._entry
        ahead = _with_rivals(parent, child, ahead, child.weight, rates, held, entry, arrivals)
        child = parent
    return ahead


def _own_work(flow: Flow, demand: Demand, path: Path, rates: NsPerUnit, held: Waiter | None) -> Work:
    """The work before a new demand in the flow that the demand will join or share with."""
    if demand.session_front and flow._path[:SESSION_DEPTH] == path[:SESSION_DEPTH]:
        return NO_WORK
    if flow._path == path or not flow.waiting:
        return plus(NO_WORK, flow.load)
    one = plus(NO_WORK, flow.load, 1 / flow.waiting)  # another session or agent: they alternate
    if held is not None and held.flow is flow:
        cost = held.demand.cost
        return one if service_time_ns(one, rates) >= service_time_ns(cost, rates) else plus(NO_WORK, cost)
    return one


def _with_rivals(
    parent: Flow,
    child: Flow | None,
    ahead: Work,
    weight: float,
    rates: NsPerUnit,
    held: Waiter | None,
    entry: int | None = None,
    arrivals: ClassArrivals | None = None,
) -> Work:
    """The work before a new request of `child` among all children of `parent`.

    `ahead` is the child's own work before the request. `held` is a waiter that goes first in any case. `entry` is the
    number of a child whose first request this is. It goes before rivals with the same tag and a larger number.

    With few rivals, each one counts with the requests that it may send before its tag passes the tag of the new
    request. With many, they count together with their weighted share of the child's own work, and one request each.
    Neither is more than what waits now and what will probably arrive meanwhile.
    """
    front = [each.demand.cost for each in parent._waiters if each.flow is parent]
    is_rival = child is not None and child.waiting > 0 and child.attached
    if parent.active - is_rival > 0:
        ahead_ns = service_time_ns(ahead, rates)
        if parent.depth:
            arrivals = None  # known by caller only
        if parent.active <= _MOST_COUNTED:
            start_ns = parent._virtual_ns
            if child is not None:
                start_ns = child._start_ns if is_rival else max(start_ns, child._finish_ns)
            tag_ns = start_ns + ahead_ns / weight
            ahead = _with_few_rivals(parent, child, tag_ns, ahead, rates, _held_below(parent, held), entry, arrivals)
        else:
            ahead = _with_many_rivals(parent, child if is_rival else None, ahead, ahead_ns, weight, rates, arrivals)
    for cost in front:
        ahead = plus(ahead, cost)
    return ahead


def _held_below(parent: Flow, held: Waiter | None) -> tuple[Flow | None, Cost] | None:
    """The child of `parent` that the held waiter is in or below, if any, and the cost of that waiter."""
    if held is None:
        return None
    flow = held.flow
    while flow is not None and flow.parent is not parent:
        flow = flow.parent
    return flow, held.demand.cost


def _with_many_rivals(
    parent: Flow,
    child: Flow | None,
    ahead: Work,
    ahead_ns: int,
    weight: float,
    rates: NsPerUnit,
    arrivals: ClassArrivals | None,
) -> Work:
    rivals, waiting, weights, others = parent.active, parent.waiting, parent._active_weight, parent.load
    per_ns = 0.0 if arrivals is None else arrivals.total_per_ns
    if child is not None:
        rivals, waiting, weights = rivals - 1, waiting - child.waiting, weights - child.weight
        others = list(map(sub, others, child.load))
        per_ns -= 0.0 if arrivals is None else arrivals.per_ns(child._path[0])
    others_ns = service_time_ns(others, rates)
    if others_ns <= 0:
        return plus(ahead, others)
    mean_ns = others_ns / waiting
    fair_ns = ahead_ns / weight * weights + rivals * mean_ns
    # What comes meanwhile: the wait is `ahead_ns` + `others_ns` + the wait × the share of the rate that arrivals take.
    arriving = per_ns * mean_ns
    come_ns = fair_ns if arriving >= 1 else (ahead_ns + others_ns) / (1 - arriving) - ahead_ns
    return plus(ahead, others, min(fair_ns, come_ns) / others_ns)


def _with_few_rivals(
    parent: Flow,
    child: Flow | None,
    tag_ns: float,
    ahead: Work,
    rates: NsPerUnit,
    least: tuple[Flow | None, Cost] | None,
    entry: int | None,
    arrivals: ClassArrivals | None,
) -> Work:
    """Adds to `ahead` what the other children of `parent` send before their tags pass `tag_ns`.

    `least` is a child of which at least so much goes first.
    """
    # No calls in this loop: it is most of a prediction.
    requests_ns, input_ns, output_ns = rates
    requests, input_tokens, output_tokens = ahead
    growing: list[tuple[float, float, Flow]] = []
    for each in (parent.children or {}).values():
        if each._entry is None or each is child:
            continue
        lead_ns = tag_ns - each._start_ns
        if lead_ns < 0 or (lead_ns == 0 and entry is not None and each._entry > entry):
            if least is not None and each is least[0]:
                requests, input_tokens, output_tokens = plus((requests, input_tokens, output_tokens), least[1])
            continue
        waiting, load = each.waiting, each.load
        load_ns = load[0] * requests_ns
        if (other_ns := load[1] * input_ns) > load_ns:
            load_ns = other_ns
        if (other_ns := load[2] * output_ns) > load_ns:
            load_ns = other_ns
        sent = lead_ns * each.weight * waiting // load_ns + 1 if load_ns else waiting
        if sent > waiting:
            if arrivals is not None and (per_ns := arrivals.per_ns(each._path[0])):
                growing.append((sent - waiting, per_ns, each))
            sent = waiting
        if least is not None and each is least[0] and sent * load_ns < waiting * service_time_ns(least[1], rates):
            requests, input_tokens, output_tokens = plus((requests, input_tokens, output_tokens), least[1])
        else:
            share = sent / waiting
            requests += share * load[0]
            input_tokens += share * load[1]
            output_tokens += share * load[2]
    work = requests, input_tokens, output_tokens
    return _with_arrivals(work, growing, rates) if growing else work


def _with_arrivals(work: Work, growing: list[tuple[float, float, Flow]], rates: NsPerUnit) -> Work:
    """Adds what arrives while all of it is admitted: by rival, at most so many requests, so many in a nanosecond."""
    total, duration_ns = work, 0
    for _ in range(_ROUNDS):
        before_ns, duration_ns = duration_ns, service_time_ns(total, rates)
        if duration_ns <= before_ns:
            break
        total = work
        for most, per_ns, flow in growing:
            total = plus(total, flow.load, min(most, per_ns * duration_ns) / flow.waiting)
    return total
