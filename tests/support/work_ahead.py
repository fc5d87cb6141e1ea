"""The work before a request, as the time that the pool needs for it."""

from tidegate.core.domain.demand import Demand
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter

__all__ = ["ahead_ns", "before_ns"]


def ahead_ns(queue: FairQueue, demand: Demand, now_ns: int) -> int:
    """How long the pool needs for what goes before a new demand."""
    return queue.service_time_ns(queue.ahead(demand, now_ns))


def before_ns(queue: FairQueue, waiter: Waiter, now_ns: int) -> int:
    """How long the pool needs for what goes before a waiter."""
    return queue.service_time_ns(queue.before(waiter, now_ns))
