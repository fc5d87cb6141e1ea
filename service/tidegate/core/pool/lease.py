"""What was granted, until it ends."""

from typing import Final

from tidegate.core.accounts.accounts import Account
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_MINUTE
from tidegate.core.limits.dimension_limit import DimensionLimit

__all__ = ["Lease", "Leases"]

_SILENCE_NS: Final = 60 * NS_PER_MINUTE
"""Six times the default deadline of a call: who is silent for longer has forgotten that it holds a lease."""
_LOOK_NS: Final = 30 * NS_PER_MINUTE
"""No look at a lease counts for more silence than this: a clock that jumps by hours, or a machine that was suspended,
leaves callers the time to say something."""
_NOTHING: Final = Cost()


class Lease:
    """The demand, what it is charged, what is known of it so far, and the limits that were charged.

    A limit that is learned while the lease lives does not count it: what the upstream reported as remaining does.

    Attributes:
        account: the account of a caller with limits of its own, which is charged the same.
        alive_ns: when something was last heard of it.
        silence_ns: for how long it may be silent: an hour, or as long as its caller was ready to wait.
        left_ns: how much of that was left when it was looked at last.
        answered: whether the head of an answer has come.
        open_input_tokens, open_output_tokens: what of the charge is an estimate still.
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
        limits: tuple[tuple[int, DimensionLimit], ...],
        granted_ns: int,
        account: Account | None = None,
    ) -> None:
        self.demand = demand
        self.answered = False
        self.charged = cost = demand.cost
        self.known = _NOTHING
        self.open_input_tokens = cost[1]
        self.open_output_tokens = cost[2]
        self.limits = limits
        self.account = account
        self.granted_ns = self.alive_ns = granted_ns
        patience_ns = demand.patience_ns
        most_ns = _SILENCE_NS if patience_ns is None or patience_ns < _SILENCE_NS else patience_ns
        self.silence_ns = self.left_ns = most_ns


class Leases(dict[str, Lease]):
    """Leases by id, the one that has been silent for longest first.

    Attributes:
        due_ns: before this none can have been silent for too long.
    """

    __slots__ = ("due_ns",)

    def __init__(self) -> None:
        super().__init__()
        self.due_ns = 0

    def touch(self, lease_id: str, now_ns: int) -> Lease | None:
        """The lease, which is alive; None if there is none of this id."""
        lease = self.pop(lease_id, None)
        if lease is not None:
            lease.alive_ns = now_ns
            lease.left_ns = lease.silence_ns
            self[lease_id] = lease
        return lease

    def answered(self, lease_id: str) -> bool:
        """The head of an answer came; whether that is news of a lease."""
        lease = self.get(lease_id)
        if lease is None or lease.answered:
            return False
        lease.answered = True
        return True

    def forgotten(self, now_ns: int) -> str | None:
        """The id of a lease that has been silent for too long; None if there is none. Asked once it is due."""
        while self:
            lease_id, lease = next(iter(self.items()))
            if now_ns - lease.alive_ns < _LOOK_NS:
                self.due_ns = lease.alive_ns + _LOOK_NS
                return None
            if lease.left_ns <= _LOOK_NS:
                return lease_id
            left_ns = lease.left_ns - _LOOK_NS
            self.touch(lease_id, now_ns)
            lease.left_ns = left_ns
        self.due_ns = now_ns + _LOOK_NS
        return None

    def oldest_ns(self) -> int | None:
        """When the oldest was granted; None if there is none."""
        return min((lease.granted_ns for lease in self.values()), default=None)
