"""Requests that wait for something that spans all pools: a limit of their caller, or a budget."""

from typing import NamedTuple

__all__ = ["AccountWaits", "Exceeded"]


class Exceeded(NamedTuple):
    """A limit that holds a caller back.

    Attributes:
        limit: the field of `CallerLimits`.
        wait_ns: how long until the limit allows the request; None: until another call of the caller ends.
    """

    limit: str
    wait_ns: int | None


class AccountWaits:
    """The requests of one pool that wait for accounts.

    Attributes:
        until_ns: none of them may go before this time, unless an account is freed. None: not by time alone.
    """

    __slots__ = ("pool", "until_ns")

    def __init__(self, pool: str) -> None:
        self.pool = pool
        self.until_ns: int | None = None

    def add(self, exceeded: Exceeded, now_ns: int) -> None:
        """Notes that one more request waits for this limit."""
        if exceeded.wait_ns is not None:
            until_ns = now_ns + exceeded.wait_ns
            self.until_ns = until_ns if self.until_ns is None else min(self.until_ns, until_ns)
