"""How long a demand will probably wait: a formula over queue and quota, corrected by what waiting really took.

What others on the same key take is a guess of moments. So there are two formulas, with and without them, each with its
own experience, and the shorter wait is told: who is only suspected gets nobody refused, those who are there show in
what waiting takes, and who has left counts no more.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from tidegate.core.domain.caller import Priority
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.failures.failure_tracker import FailureTracker
from tidegate.core.limits.dimension_limit import DimensionLimit
from tidegate.core.pool.quota import Quota
from tidegate.core.pool.wait_calibration import WaitCalibration
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter

__all__ = ["Forecast"]

_TOGETHER_NS: Final = NS_PER_SECOND // 250
"""Where several would be admitted sooner one after the other, they are admitted together: waking costs more than they
do, and no call notices."""
_OTHER_RATE: Final = 0.3
"""What was predicted at a rate that has changed by so much since tells nothing about predictions now."""
_MOST_TAKEN: Final = 5.0
"""A fifth of the rate is claimed at least, however much others take: then a wait is five times as long."""


class Forecast:
    """Predictions for one pool. Each class has its own experience: who comes later overtakes some, and not others."""

    __slots__ = ("_alone", "_basis", "_drains", "_failures", "_limited", "_queue", "_quota", "_rates")

    def __init__(self, quota: Quota, queue: FairQueue, failures: FailureTracker) -> None:
        self._quota = quota
        self._queue = queue
        self._failures = failures
        self._drains = tuple(WaitCalibration() for _ in Priority)
        self._alone = tuple(WaitCalibration(_MOST_TAKEN) for _ in Priority)  # beside the formula without others
        self._rates: dict[int, float] = {}  # what predictions rely on, but for others, and how often that has changed
        self._basis = 0
        self._limited: tuple[tuple[int, DimensionLimit], ...] = ()  # the limits when that was looked at

    def expect(self, waiter: Waiter, now_ns: int) -> int:
        """Notes how long somebody who comes should have to wait by the formulas. Returns how long it probably is."""
        formula_ns, alone_ns, predicted_ns = self._predict(waiter.demand, now_ns, 0)
        if self._quota.is_known:  # a guess at unknown limits proves nothing
            waiter.formula_ns, waiter.alone_ns, waiter.basis = formula_ns, alone_ns, self._present_basis()
        return predicted_ns

    def admitted(self, waiter: Waiter, now_ns: int) -> None:
        """Somebody's wait has ended, and can be compared with what was predicted, if that relied on what holds now."""
        if waiter.formula_ns and waiter.basis == self._present_basis():
            rank, waited_ns = waiter.demand.caller.rank, now_ns - waiter.since_ns
            self._drains[rank].add(waiter.formula_ns, waited_ns)
            self._alone[rank].add(waiter.alone_ns, waited_ns)

    def predict_ns(self, demand: Demand, now_ns: int, least_ns: int) -> int:
        """How long a demand will probably have to wait, at least so long by the formula."""
        *_, predicted_ns = self._predict(demand, now_ns, least_ns)
        return predicted_ns

    def together_ns(self, head: Waiter, wait_ns: int) -> int:
        """When to look at the queue, whose head fits in `wait_ns`: later, if others fit then.

        Nothing is lost by that: no bucket is full before, and only half of the time that it takes is used.
        """
        if not 0 < wait_ns < _TOGETHER_NS or len(self._queue) == 1:
            return wait_ns
        return min(_TOGETHER_NS, wait_ns + self._quota.held_ns(head.demand.cost, above=True) // 2)

    def may_refuse(self, demand: Demand, now_ns: int) -> bool:
        """Whether a prediction is good enough to refuse somebody on it.

        A freeze is certain, and so is a price in requests alone; prices in tokens are estimates, which have to
        stand the test before. A rate that is being searched, and was not measured well, is no reason.
        """
        is_exact = not (demand.cost.input_tokens or demand.cost.output_tokens)
        outlasts = demand.patience_ns is not None and self._quota.frozen_ns(now_ns) > demand.patience_ns
        return outlasts or (self._quota.is_sure and (is_exact or self._drains[demand.caller.rank].is_tested))

    def _predict(self, demand: Demand, now_ns: int, least_ns: int) -> tuple[int, int, int]:
        """By the formula, at least so long; if others took nothing; and by experience."""
        quota, rank = self._quota, demand.caller.rank
        frozen_ns = quota.frozen_ns(now_ns)
        formula_ns = max(least_ns, self._formula_ns(demand, frozen_ns, now_ns))
        frozen_ns = min(frozen_ns, formula_ns)  # which is certain; experience is about the rest
        uncertain_ns = formula_ns - frozen_ns
        share = _least_share(quota.limited)
        # The same number where it is the same: many thousands may wait, and keep both.
        alone_ns = formula_ns if share == 1.0 else frozen_ns + round(uncertain_ns * share)
        corrected_ns = min(self._drains[rank].correct(uncertain_ns), self._alone[rank].correct(alone_ns - frozen_ns))
        return formula_ns, alone_ns, frozen_ns + corrected_ns

    def _present_basis(self) -> int:
        """A number for what predictions rely on: larger once a rate has changed by much, or an outage began or ended.

        How long nothing is answered says nothing about how fast a queue moves when everything is.
        """
        limited = self._quota.limited
        if limited is not self._limited:
            self._limited = limited
            rates = {index: (limit.per_minute or 0.0) / limit.share for index, limit in limited}
            if _differ(self._rates, rates):
                self._rates = rates
                self._basis += 1
        return self._basis + self._failures.outage_changes

    def _formula_ns(self, demand: Demand, frozen_ns: int, now_ns: int) -> int:
        """Refilling for this demand and all who go before it; a freeze lets no more refill than the buckets hold."""
        quota, cost = self._quota, demand.cost
        ahead_ns = self._queue.ahead_ns(demand, now_ns)
        if not frozen_ns:
            return ahead_ns + quota.wait_ns(cost, now_ns)
        refilled_ns = ahead_ns + quota.level_wait_ns(cost, now_ns)
        thawed_ns = max(0, ahead_ns + quota.service_time_ns(cost) - quota.held_ns(cost))
        return max(refilled_ns, frozen_ns + thawed_ns)


def _least_share(limited: Iterable[tuple[int, DimensionLimit]]) -> float:
    least = 1.0  # no `min` over a generator: each waiter comes by
    for _, limit in limited:
        if (share := limit.share) < least:
            least = share
    return least


def _differ(before: Mapping[int, float], after: Mapping[int, float]) -> bool:
    """Whether a rate of one dimension has changed by much, or has come or gone."""
    return before.keys() != after.keys() or any(
        abs(after[index] - rate) > _OTHER_RATE * rate for index, rate in before.items()
    )
