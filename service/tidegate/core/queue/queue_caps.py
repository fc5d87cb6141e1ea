"""Caps on the queue of a pool. A queue takes memory and delays every request that joins it."""

from tidegate.core.domain.demand import Demand
from tidegate.core.domain.pool_settings import QueueCaps
from tidegate.core.queue.fair_queue import FairQueue

__all__ = ["exceeded_cap"]


def exceeded_cap(queue: FairQueue, caps: QueueCaps, demand: Demand) -> str | None:
    """The cap that the demand would exceed if it waited, such as `1,000 tokens of one caller`; None: it may wait.

    Tokens are estimates. A request may always wait in an empty queue, whatever it costs.
    """
    if len(queue.waiting) >= caps.requests:
        return f"{caps.requests:,} requests"
    if caps.tokens is not None and len(queue) and queue.tokens + demand.cost.tokens > caps.tokens:
        return f"{caps.tokens:,} tokens"
    if caps.requests_per_caller is None and caps.tokens_per_caller is None:
        return None
    own_requests, own_load = queue.load_of(demand.caller)
    own_tokens = own_load[1] + own_load[2]
    if caps.requests_per_caller is not None and own_requests >= caps.requests_per_caller:
        return f"{caps.requests_per_caller:,} requests of one caller"
    if caps.tokens_per_caller is not None and own_requests and own_tokens + demand.cost.tokens > caps.tokens_per_caller:
        return f"{caps.tokens_per_caller:,} tokens of one caller"
    return None
