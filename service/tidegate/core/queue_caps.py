"""How much may wait for a pool: a queue is memory, and a promise that has to be kept."""

from dataclasses import dataclass

from tidegate.core.queue import FairQueue
from tidegate.core.store import Demand, QueueCaps

__all__ = ["FullQueue", "what_is_full"]


@dataclass(frozen=True, slots=True)
class FullQueue:
    """A cap that one request more would exceed.

    Attributes:
        most: the cap.
        unit: `requests` or `tokens`.
        of_one_caller: whether it is the cap of each caller, not that of all.
    """

    most: int
    unit: str
    of_one_caller: bool

    def __str__(self) -> str:
        return f"{self.most:,} {self.unit}{' of one caller' if self.of_one_caller else ''}"


def what_is_full(queue: FairQueue, caps: QueueCaps, demand: Demand) -> FullQueue | None:
    """The cap that the demand would exceed if it waited; None: it may wait.

    Tokens are estimates. One request may always wait, whatever it costs: what nobody waits before is no queue.
    """
    if len(queue.waiting) >= caps.requests:
        return FullQueue(caps.requests, "requests", of_one_caller=False)
    tokens = demand.cost.tokens
    if caps.tokens is not None and len(queue) and queue.tokens + tokens > caps.tokens:
        return FullQueue(caps.tokens, "tokens", of_one_caller=False)
    if caps.requests_per_caller is None and caps.tokens_per_caller is None:
        return None
    own_requests, own_tokens = queue.of_caller(demand.caller)
    if caps.requests_per_caller is not None and own_requests >= caps.requests_per_caller:
        return FullQueue(caps.requests_per_caller, "requests", of_one_caller=True)
    if caps.tokens_per_caller is not None and own_requests and own_tokens + tokens > caps.tokens_per_caller:
        return FullQueue(caps.tokens_per_caller, "tokens", of_one_caller=True)
    return None
