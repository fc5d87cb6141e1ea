"""A request that waits in the queue of a pool."""

import math
from typing import TYPE_CHECKING

from tidegate.core.domain.demand import Demand

if TYPE_CHECKING:
    from tidegate.core.accounts.accounts import Account
    from tidegate.core.queue.flow import Flow

__all__ = ["Waiter"]


class Waiter:
    """A request in the queue.

    Attributes:
        formula_ns: the wait that the formula predicted, before calibration; 0 if the limits were unknown.
        alone_ns: the same, as if nobody else used the key.
        basis: the number of the set of rates that both predictions relied on.
        since_ns: when it joined the queue.
        priced_ns: when its cost was estimated.
        number: its place in the order of its flow; those before it have smaller ones, not necessarily each.
        flow: the flow that it waits in; None once it has left, and for a returned request.
        account: the account of a caller with limits of its own.
        skipped: whether those limits hold it back.
    """

    __slots__ = (
        "account",
        "alone_ns",
        "basis",
        "demand",
        "flow",
        "formula_ns",
        "lease_id",
        "number",
        "priced_ns",
        "since_ns",
        "skipped",
    )

    def __init__(self, lease_id: str, demand: Demand, since_ns: int = 0, account: "Account | None" = None) -> None:
        self.lease_id = lease_id
        self.demand = demand
        self.formula_ns = self.alone_ns = self.basis = 0
        self.since_ns = self.priced_ns = since_ns
        self.number = 0
        self.flow: Flow | None = None
        self.account = account
        self.skipped = False

    @property
    def is_returned(self) -> bool:
        """Whether the upstream had refused it or failed to answer it, so that it comes back."""
        return self.demand.front or self.demand.retry

    def patience_left_ns(self, now_ns: int) -> float:
        """The remaining patience of its caller."""
        patience_ns = self.demand.patience_ns
        return math.inf if patience_ns is None else self.since_ns + patience_ns - now_ns
