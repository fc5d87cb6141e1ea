"""The charges of leases: an estimate at first, then corrected up or down by what is known of the answer."""

from typing import Final

from tidegate.core.domain.demand import Outcome
from tidegate.core.domain.dimension import DIMENSIONS, Cost, Dimension
from tidegate.core.leases.open_leases import OpenLease
from tidegate.core.limits.recent_use import RecentUse
from tidegate.core.quota.quota import Quota

__all__ = ["LeaseCharging"]

_INPUT: Final = DIMENSIONS.index(Dimension.INPUT_TOKENS)
_OUTPUT: Final = DIMENSIONS.index(Dimension.OUTPUT_TOKENS)
_NO_COST: Final = Cost()
_SETTLED: Final = Outcome.SETTLED  # looked up once: every call passes here


class LeaseCharging:
    """Keeps the charges of leases, the quota that they draw on, and the recent use of it consistent."""

    __slots__ = ("_quota", "_use")

    def __init__(self, quota: Quota, use: RecentUse) -> None:
        self._quota = quota
        self._use = use

    def charge(self, lease: OpenLease, known: Cost, now_ns: int) -> None:
        """Charges what is known while the answer comes: its input, unless 0, and its output where that is more."""
        if known.input_tokens and not lease.known.input_tokens:
            for index, limit in lease.limits:
                if index == _INPUT:
                    limit.observe_price(lease.demand.cost.input_tokens, known.input_tokens)
        before, charged = lease.known, lease.charged
        known = Cost(max(before[0], known[0]), max(before[1], known[1]), max(before[2], known[2]))
        charged = Cost(max(charged[0], known[0]), known[1] or charged[1], max(charged[2], known[2]))
        self._correct(lease, charged, known, now_ns)
        self._set_open(lease, 0 if known[1] else charged[1], charged[2] - known[2])

    def close(self, lease: OpenLease, outcome: Outcome, used: Cost | None, now_ns: int) -> Cost:
        """Charges the final use of a lease and returns it. `used` None: the outcome determines it."""
        if outcome is _SETTLED and used is not None:
            estimate, input_known = lease.demand.cost, lease.known[_INPUT]
            for index, limit in lease.limits:
                if index == _OUTPUT or (index == _INPUT and not input_known):
                    limit.observe_price(estimate[index], used[index])
        elif outcome is Outcome.RELEASED or outcome is Outcome.THROTTLED:
            used = _NO_COST
        elif used is None:
            overloaded = outcome is Outcome.OVERLOADED
            used = lease.charged._replace(output_tokens=lease.known.output_tokens) if overloaded else lease.charged
        self._quota.close_estimates(lease.open_input_tokens, lease.open_output_tokens)
        self._correct(lease, used, used, now_ns)
        return used

    def _correct(self, lease: OpenLease, cost: Cost, known: Cost, now_ns: int) -> None:
        """Replaces the charge of a lease by `cost`, of which `known` is certain."""
        before = lease.charged
        for index, limit in lease.limits:
            if cost[index] != before[index]:
                limit.correct(cost[index] - before[index], now_ns)
        if lease.account is not None and cost != before:
            lease.account.correct(cost.minus(before), now_ns)
        requests, input_tokens = cost[0] - before[0], cost[1] - before[1]
        output_tokens = known[2] - lease.known[2]  # the upstream counts output only as it is produced
        self._use.add(requests, input_tokens, output_tokens, now_ns)
        at_ns = lease.granted_ns if requests else now_ns  # a request that was not counted was never used
        self._quota.correct_use(requests, input_tokens, output_tokens, at_ns)
        lease.charged, lease.known = cost, known

    def _set_open(self, lease: OpenLease, input_tokens: int, output_tokens: int) -> None:
        """Sets the part of the charge that is still an estimate."""
        self._quota.close_estimates(lease.open_input_tokens - input_tokens, lease.open_output_tokens - output_tokens)
        lease.open_input_tokens, lease.open_output_tokens = input_tokens, output_tokens
