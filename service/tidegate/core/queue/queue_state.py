"""The dump of the requests that wait in a fair queue, each in its place."""

from collections.abc import Callable

from msgspec import Struct, structs

from tidegate.core.accounts.accounts import Account
from tidegate.core.domain.demand import Demand
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.flow_state import FlowState, dump_flow, restore_flow
from tidegate.core.queue.waiter import Waiter

__all__ = ["QueueState", "WaiterState", "dump_queue", "restore_queue"]


class WaiterState(Struct, frozen=True, array_like=True):
    """The dump of a `Waiter`, with its last cost, and without the function that prices it."""

    lease_id: str
    demand: Demand
    since_ago_ns: int
    priced_ago_ns: int
    formula_ns: int
    alone_ns: int
    basis: int
    number: int
    has_account: bool


class QueueState(Struct, frozen=True, array_like=True):
    """The dump of all waiters of a `FairQueue`.

    Attributes:
        waiters: in the order in which they came.
        classes: the flows of each class.
        held: the place of the held head among the waiters.
        skipped: the places of those that their callers' own limits hold back, in the order in which they were skipped.
    """

    waiters: tuple[WaiterState, ...]
    classes: tuple[FlowState, ...]
    held: int | None
    skipped: tuple[int, ...]


def dump_queue(queue: FairQueue, now_ns: int) -> QueueState:
    """The waiters of a queue, for `restore_queue`. `FairQueue.dump` has what its classes have earned."""
    places = {lease_id: place for place, lease_id in enumerate(queue.waiting)}
    held = queue._held
    return QueueState(
        tuple(_dump_waiter(waiter, now_ns) for waiter in queue.waiting.values()),
        tuple(dump_flow(each.flows, places) for each in queue._classes),
        None if held is None else places[held.lease_id],
        tuple(places[lease_id] for lease_id in queue.skipped),
    )


def restore_queue(queue: FairQueue, state: QueueState, now_ns: int, account_of: Callable[[str], Account]) -> None:
    """Puts all waiters into an empty queue, each in its place. `account_of` returns the account of a caller by name."""
    waiters = [_restored(each, now_ns, account_of) for each in state.waiters]
    for waiter in waiters:
        queue.add(waiter)
    for own, flow in zip(queue._classes, state.classes, strict=True):
        own.flows = restore_flow(flow, waiters)
    queue._held = None if state.held is None else waiters[state.held]
    for place in state.skipped:
        waiter = waiters[place]
        waiter.skipped = True
        queue.skipped[waiter.lease_id] = waiter


def _dump_waiter(waiter: Waiter, now_ns: int) -> WaiterState:
    return WaiterState(
        lease_id=waiter.lease_id,
        demand=structs.replace(waiter.demand, price=None),
        since_ago_ns=now_ns - waiter.since_ns,
        priced_ago_ns=now_ns - waiter.priced_ns,
        formula_ns=waiter.formula_ns,
        alone_ns=waiter.alone_ns,
        basis=waiter.basis,
        number=waiter.number,
        has_account=waiter.account is not None,
    )


def _restored(state: WaiterState, now_ns: int, account_of: Callable[[str], Account]) -> Waiter:
    account = account_of(state.demand.caller.name) if state.has_account else None
    waiter = Waiter(state.lease_id, state.demand, now_ns - state.since_ago_ns, account)
    waiter.priced_ns = now_ns - state.priced_ago_ns
    waiter.formula_ns, waiter.alone_ns, waiter.basis = state.formula_ns, state.alone_ns, state.basis
    waiter.number = state.number
    return waiter
