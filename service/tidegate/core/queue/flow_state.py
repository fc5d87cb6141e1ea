"""The dump of a tree of flows: tags, order and waiters, so that a restored tree continues in the same order."""

import heapq
from collections.abc import Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING

from msgspec import Struct

from tidegate.core.queue.flow import Flow, Path

if TYPE_CHECKING:
    from tidegate.core.queue.waiter import Waiter

__all__ = ["FlowState", "dump_flow", "restore_flow"]


class FlowState(Struct, frozen=True, array_like=True):
    """The dump of a `Flow` with all below it.

    Attributes:
        path: of the demand that it was last made or used for.
        start_ns, finish_ns, virtual_ns: the tags. They are amounts of work and no times of a clock.
        active_weight: the sum of the weights of the children that have requests.
        pushed: the number of its last request.
        entry: the place among the children of its parent that have requests, in the order of their tags; None if it has
            none, or is detached.
        waiters: its own requests in order, by their places in the dump of the queue.
        children: in the order in which they came; None for a flow that has none.
    """

    path: Path
    weight: float
    attached: bool
    start_ns: float
    finish_ns: float
    virtual_ns: float
    active_weight: float
    pushed: int
    entry: int | None
    waiters: tuple[int, ...] = ()
    children: "tuple[FlowState, ...] | None" = None


def dump_flow(flow: Flow, places: Mapping[str, int], entry: int | None = None) -> FlowState:
    """The state of a flow, for `restore_flow`. `places` are those of waiters by lease id."""
    children = flow.children
    entries: dict[int, int] = {}  # place by number: a child's number counts only in comparison with the others'
    if children:
        active = sorted((child._start_ns, child._entry) for child in children.values() if child._entry is not None)
        entries = {number: place for place, (_, number) in enumerate(active)}
    return FlowState(
        path=flow._path,
        weight=flow.weight,
        attached=flow.attached,
        start_ns=flow._start_ns,
        finish_ns=flow._finish_ns,
        virtual_ns=flow._virtual_ns,
        active_weight=flow._active_weight,
        pushed=flow._pushed,
        entry=entry,
        waiters=tuple(places[waiter.lease_id] for waiter in flow._waiters if waiter.flow is flow),
        children=None
        if children is None
        else tuple(
            dump_flow(child, places, None if child._entry is None else entries[child._entry])
            for child in children.values()
        ),
    )


def restore_flow(state: FlowState, waiters: Sequence["Waiter"], parent: Flow | None = None) -> Flow:
    """A flow that continues from `state`, with these waiters of the queue."""
    flow = Flow(parent, state.path, state.weight)
    if parent is None:
        flow._numbers = count(_numbers_used(state))
    flow.attached = state.attached
    flow._start_ns, flow._finish_ns, flow._virtual_ns = state.start_ns, state.finish_ns, state.virtual_ns
    flow._active_weight, flow._pushed, flow._entry = state.active_weight, state.pushed, state.entry
    for place in state.waiters:
        waiter = waiters[place]
        waiter.flow = flow
        flow._waiters.append(waiter)
        _count(flow, 1, waiter.demand.cost)
    flow._own = len(state.waiters)
    if state.children is not None:
        flow.children = {}
        for number, each in enumerate(state.children):
            child = restore_flow(each, waiters, flow)
            flow.children[each.path[flow.depth]] = child
            flow._detached += not child.attached
            if child.attached:
                _count(flow, child.waiting, child.load)
            if child._entry is not None:
                flow.active += 1
                flow._heap.append((child._start_ns, child._entry, child))
            if not child.waiting:  # it is remembered because it had more than its share
                flow._idle.append((child._finish_ns, number, child))
        heapq.heapify(flow._heap)
        heapq.heapify(flow._idle)
    return flow


def _count(flow: Flow, waiting: int, load: Sequence[int]) -> None:
    flow.waiting += waiting
    for index, units in enumerate(load):
        flow.load[index] += units


def _numbers_used(state: FlowState) -> int:
    """A number above all that the flow and those below it use."""
    below = state.children or ()
    return max([len(below), *map(_numbers_used, below)])
