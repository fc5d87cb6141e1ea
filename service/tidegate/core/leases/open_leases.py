"""The leases that a pool has granted and that have not ended."""

from typing import Final

from msgspec import structs

from tidegate.core.accounts.accounts import Account
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.limit_report import LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE, NS_PER_SECOND
from tidegate.core.limits.dimension_limit import DimensionLimit

__all__ = ["Limited", "OpenLease", "OpenLeases"]

Limited = tuple[tuple[int, DimensionLimit], ...]
"""The limits that a grant was charged to, each with the index of its dimension."""

_SILENCE_NS: Final = 60 * NS_PER_MINUTE
"""Six times the default deadline of a call. A caller that is silent for longer has lost its lease."""
_CHECK_NS: Final = 30 * NS_PER_MINUTE
"""One check of a lease counts at most this much silence. So after a jump of the clock by hours, or a suspended machine,
callers have time to report."""
_LATE_NS: Final = NS_PER_SECOND // 50
"""Requests that are sent within this time may overtake each other on their way, as `ChargeLog` assumes."""
_NO_COST: Final = Cost()


class OpenLease:
    """A granted demand: its charge, what is known of its real cost, and the limits that were charged.

    A limit that is learned during the lease does not count it: the remainder that the upstream reports does.

    Attributes:
        account: the account of a caller with limits of its own, which gets the same charges.
        alive_ns: when the holder last reported.
        silence_ns: how long the holder may be silent: an hour, or the patience of the caller if that is longer.
        left_ns: how much of that was left at the last check.
        answered: whether the head of an answer has come.
        open_input_tokens, open_output_tokens: the part of the charge that is still an estimate.
    """

    __slots__ = (
        "account",
        "alive_ns",
        "answered",
        "charged",
        "demand",
        "granted_ns",
        "known",
        "left_ns",
        "limits",
        "open_input_tokens",
        "open_output_tokens",
        "silence_ns",
    )

    def __init__(
        self,
        demand: Demand,
        limits: Limited,
        granted_ns: int,
        account: Account | None = None,
    ) -> None:
        self.demand = demand
        self.answered = False
        self.charged = cost = demand.cost
        self.known = _NO_COST
        self.open_input_tokens = cost[1]
        self.open_output_tokens = cost[2]
        self.limits = limits
        self.account = account
        self.granted_ns = self.alive_ns = granted_ns
        patience_ns = demand.patience_ns
        most_ns = _SILENCE_NS if patience_ns is None or patience_ns < _SILENCE_NS else patience_ns
        self.silence_ns = self.left_ns = most_ns


class OpenLeases(dict[str, OpenLease]):
    """Open leases by id, the one with the longest silence first.

    Attributes:
        due_ns: no lease can have expired before this time.
    """

    __slots__ = ("due_ns",)

    def __init__(self) -> None:
        super().__init__()
        self.due_ns = 0

    def touch(self, lease_id: str, now_ns: int) -> OpenLease | None:
        """The lease, whose holder reports now; None if there is none of this id."""
        lease = self.pop(lease_id, None)
        if lease is not None:
            lease.alive_ns = now_ns
            lease.left_ns = lease.silence_ns
            self[lease_id] = lease
        return lease

    def aged(self, report: LimitReport, now_ns: int) -> LimitReport:
        """The report, with the age of its lease if it is much younger: it has come late then, as over a shared log.

        The request cannot have been sent before it was granted. A report that seems younger than it is would hide the
        charges of the time in between, and raise the level above the upstream's.
        """
        lease = self.get(report.lease_id)
        if lease is None or (age_ns := now_ns - lease.granted_ns) <= report.sent_ago_ns + _LATE_NS:
            return report
        return structs.replace(report, sent_ago_ns=age_ns)

    def mark_answered(self, lease_id: str) -> bool:
        """Notes that the head of an answer came. Returns whether the lease exists and this was not known."""
        lease = self.get(lease_id)
        if lease is None or lease.answered:
            return False
        lease.answered = True
        return True

    def next_expired(self, now_ns: int) -> str | None:
        """The id of an expired lease; None if there is none. Called at `due_ns` or later."""
        while self:
            lease_id, lease = next(iter(self.items()))
            if now_ns - lease.alive_ns < _CHECK_NS:
                self.due_ns = lease.alive_ns + _CHECK_NS
                return None
            if lease.left_ns <= _CHECK_NS:
                return lease_id
            left_ns = lease.left_ns - _CHECK_NS
            self.touch(lease_id, now_ns)
            lease.left_ns = left_ns
        self.due_ns = now_ns + _CHECK_NS
        return None

    def oldest_ns(self) -> int | None:
        """The time at which the oldest lease was granted; None if there is none."""
        return min((lease.granted_ns for lease in self.values()), default=None)
