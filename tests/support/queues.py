"""Queues whose pool refills an input token in a millisecond."""

from collections.abc import Iterable

from tidegate.core.domain.caller import Caller
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost, NsPerUnit
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter

__all__ = ["ANN", "BEN", "COST", "MS", "never", "order", "pop", "queue_of", "rates", "waiter"]

ANN, BEN = Caller("ann"), Caller("ben")
MS = 1_000_000
COST = Cost(1, 100)


def rates() -> NsPerUnit:
    """The pool of these tests refills an input token in a millisecond."""
    return 0.0, MS, 0.0


def never(_now_ns: int) -> int:
    """The retry budget of these tests: used up."""
    return MS


def waiter(lease_id: str, caller: Caller = ANN, tokens: int = 100, *, front: bool = False) -> Waiter:
    return Waiter(lease_id, Demand("pool", caller, Cost(1, tokens), front=front))


def queue_of(waiters: Iterable[Waiter]) -> FairQueue:
    queue = FairQueue(rates, never)
    for one in waiters:
        queue.push(one)
    return queue


def pop(queue: FairQueue, now_ns: int = 0) -> str:
    head = queue.head(0)
    assert head is not None
    queue.serve(head, now_ns)
    return head.lease_id


def order(queue: FairQueue) -> list[str]:
    return [pop(queue) for _ in range(len(queue))]
