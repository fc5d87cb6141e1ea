"""The waiters of one priority class."""

from collections.abc import Iterator
from itertools import chain
from operator import add
from typing import Final

from tidegate.core.queue.flow import Flow
from tidegate.core.queue.waiter import Waiter

__all__ = ["NO_LOAD", "ClassQueue"]

NO_LOAD: Final = [0, 0, 0]


class ClassQueue:
    """The requests of one priority class.

    Attributes:
        rank: 0 goes first.
        flows: new requests, shared fairly among callers, sessions and agents.
        refused: requests that return after a 429, in the order of their return; `refused_load` is their cost.
        failed: requests that return after another failure, likewise. They go as the retry budget admits them.
    """

    __slots__ = ("failed", "failed_load", "flows", "rank", "refused", "refused_load")

    def __init__(self, rank: int) -> None:
        self.rank = rank
        self.flows = Flow()
        self.refused: dict[str, Waiter] = {}
        self.failed: dict[str, Waiter] = {}
        self.refused_load = [0, 0, 0]
        self.failed_load = [0, 0, 0]

    def first(self, *, may_retry: bool) -> Waiter | None:
        """The request that goes next: a returned one if there is one that may go, else the first new one."""
        if (self.refused or self.failed) and (returned := self.first_returned(may_retry=may_retry)) is not None:
            return returned
        return self.flows.head()

    def first_returned(self, *, may_retry: bool) -> Waiter | None:
        """The first returned request that may go."""
        for waiter in self.refused.values():
            if not waiter.skipped:
                return waiter
        if may_retry:
            for waiter in self.failed.values():
                if not waiter.skipped:
                    return waiter
        return None

    def returned(self) -> Iterator[Waiter]:
        """All returned requests."""
        return chain(self.refused.values(), self.failed.values())

    def returned_load(self, *, may_retry: bool) -> list[int]:
        """The cost of all returned requests that may go; `NO_LOAD` itself if no request has returned."""
        if not (self.refused or self.failed):
            return NO_LOAD
        failed = self.failed_load if may_retry else NO_LOAD
        return list(map(add, self.refused_load, failed))
