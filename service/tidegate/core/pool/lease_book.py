"""The open leases of a pool: grants, charges and ends."""

from tidegate.core.accounts.accounts import Account
from tidegate.core.accounts.budgets import Budgets
from tidegate.core.domain.budget import Spending
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.events import Event, LeaseEnded
from tidegate.core.failures.failure_tracker import FailureTracker
from tidegate.core.leases.open_leases import Limited, OpenLease
from tidegate.core.leases.output_ahead import OutputAhead
from tidegate.core.limits.recent_use import RecentUse
from tidegate.core.pool.lease_charging import LeaseCharging
from tidegate.core.quota.quota import Quota

__all__ = ["LeaseBook"]


class LeaseBook:
    """Charges each grant, and keeps charges, failures and accounts consistent until the lease ends.

    Attributes:
        leases: all open leases.
        granted: how many demands were granted since the pool began.
        reports_ends: whether the end of each lease is an event.
    """

    __slots__ = (
        "_budgets",
        "_charging",
        "_events",
        "_failures",
        "_outputs",
        "_pool",
        "_quota",
        "_use",
        "granted",
        "leases",
        "reports_ends",
    )

    def __init__(
        self,
        pool: str,
        quota: Quota,
        failures: FailureTracker,
        use: RecentUse,
        outputs: OutputAhead,
        budgets: Budgets,
    ) -> None:
        self.leases = outputs.leases
        self.granted = 0
        self.reports_ends = True
        self._pool = pool
        self._quota = quota
        self._failures = failures
        self._use = use
        self._events: list[Event] = quota.events
        self._charging = LeaseCharging(quota, use)
        self._outputs = outputs
        self._budgets = budgets

    def grant(self, lease_id: str, demand: Demand, account: Account | None, now_ns: int) -> None:
        """Charges the cost of a demand under a lease."""
        lease = self.leases[lease_id] = OpenLease(demand, self.settle(demand, account, now_ns), now_ns, account)
        self._budgets.reserve(lease_id, demand)
        if demand.settle_at_once:
            lease.answered = True  # no answer will come
        else:
            self._failures.sent(now_ns)
            if account is not None:
                account.call_began()

    def restore(self, lease_id: str, lease: OpenLease) -> None:
        """Adds a lease that was granted, charged and counted before a dump."""
        self.leases[lease_id] = lease
        if not lease.demand.settle_at_once:
            self._failures.unanswered += not lease.answered
            if lease.account is not None:
                lease.account.in_flight += 1

    def hold(self, lease_id: str, demand: Demand, known: Cost, account: Account | None, now_ns: int) -> None:
        """Adds a lease that another pool has granted and charged. Its `known` cost replaces the estimate."""
        lease = OpenLease(demand, self._quota.limits.limited, now_ns, account)
        cost = demand.cost
        lease.charged = Cost(max(cost[0], known[0]), known[1] or cost[1], max(cost[2], known[2]))
        lease.known, lease.answered = known, demand.settle_at_once or known != Cost()
        lease.open_input_tokens = 0 if known[1] else cost[1]
        lease.open_output_tokens = lease.charged[2] - known[2]
        self.leases[lease_id] = lease
        self._budgets.reserve(lease_id, demand)
        self._quota.hold(lease.open_input_tokens, lease.open_output_tokens)
        if not demand.settle_at_once:
            self._failures.unanswered += not lease.answered
            if account is not None:
                account.call_began()

    def settle(self, demand: Demand, account: Account | None, now_ns: int) -> Limited:
        """Charges the cost of a demand, without a lease. Returns the limits that were charged."""
        limits = self._quota.charge(demand.cost, now_ns, demand.overdraw_tokens)
        self._use.add(demand.cost[0], demand.cost[1], 0, now_ns)
        self.granted += 1
        if account is not None:
            account.charge(demand.cost, now_ns)
        return limits

    def charge(self, lease_id: str, known: Cost, now_ns: int, spent: Spending | None = None) -> None:
        """Charges what is known of a lease while its answer comes: its input, and its output where that is more.

        An input of 0 is not known yet. `spent`: in money and tokens of all kinds, if known.
        """
        lease = self.leases.get(lease_id)
        if lease is not None:
            seen_ns = lease.alive_ns
            self.leases.touch(lease_id, now_ns)
            self._charging.charge(lease, known, now_ns)
            self._outputs.grew(lease, seen_ns, now_ns)
            if spent is not None:
                self._budgets.grow(lease_id, spent)

    def answered(self, lease_id: str) -> None:
        """The head of an answer came for this lease, if there is one of this id."""
        if self.leases.mark_answered(lease_id):
            self._failures.unanswered -= 1

    def end(
        self, lease_id: str, outcome: Outcome, used: Cost | None, now_ns: int, spent: Spending | None = None
    ) -> bool:
        """Ends a lease and corrects all charges; False if there is none of this id.

        `spent` is as in `Budgets.settle`.
        """
        lease = self.leases.pop(lease_id, None)
        if lease is None:
            return False
        demand = lease.demand
        if not demand.settle_at_once:
            self._quota.request_ended(lease.granted_ns)
            self._failures.ended(lease.granted_ns, answered=lease.answered)
            if lease.account is not None:
                lease.account.call_ended()
        if outcome is Outcome.SETTLED and used is not None:
            self._outputs.ended(lease, used.output_tokens, now_ns)
        used = self._charging.close(lease, outcome, used, now_ns)
        spent = self._budgets.settle(lease_id, demand, outcome, spent)
        if self.reports_ends:
            self._events.append(
                LeaseEnded(self._pool, demand.caller, outcome, demand.cost, used, demand.session, spent)
            )
        return True
