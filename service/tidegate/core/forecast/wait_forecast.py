"""Predicts how long a demand will wait: a formula over queue and quota, corrected by real waits.

The traffic of others on the same key is only estimated, and the estimate changes within moments. So there are two
formulas, with and without it, each with its own calibration. The shorter prediction is used. Then a competitor that is
only suspected causes no refusal, a real one shows in the real waits, and one that has left no longer counts.
"""

from collections.abc import Iterable, Mapping
from typing import Final, Self

from msgspec import Struct

from tidegate.core.domain.caller import Priority
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND
from tidegate.core.failures.failure_tracker import FailureTracker
from tidegate.core.forecast.wait_calibration import WaitCalibration, WaitCalibrationState
from tidegate.core.leases.answer_lengths import AnswerLengthsState
from tidegate.core.leases.output_ahead import OutputAhead
from tidegate.core.limits.dimension_limit import DimensionLimit
from tidegate.core.queue.arrivals import Arrivals, ArrivalsState
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter
from tidegate.core.queue.work_ahead import Work, plus
from tidegate.core.quota.quota import Quota

__all__ = ["WaitForecast", "WaitForecastState"]

_BATCH_NS: Final = NS_PER_SECOND // 250
"""Requests that would be admitted one after another within this time are admitted together. Waking up costs more than
admitting them, and no call notices the delay."""
_OTHER_RATE: Final = 0.3
"""A prediction says nothing about the present once a rate has changed by this share."""
_MOST_TAKEN: Final = 5.0
"""At least a fifth of the rate is claimed, however much others take. Then a wait is five times as long. So its ratio is
learned from the real waits alone."""


class WaitForecastState(Struct, frozen=True, array_like=True):
    """The dump of a `WaitForecast`: calibrations by class, and the rates that predictions rely on."""

    calibrations: tuple[WaitCalibrationState, ...]
    alone_calibrations: tuple[WaitCalibrationState, ...]
    rates: tuple[tuple[int, float], ...]
    basis: int
    arrivals: ArrivalsState | None = None
    answers: AnswerLengthsState | None = None


class WaitForecast:
    """Predictions for one pool. Each class has its own calibrations, because later requests overtake some classes only.

    Predictions are "alone" if they assume that nobody else uses the key.
    """

    __slots__ = (
        "_alone_calibrations",
        "_arrivals",
        "_basis",
        "_calibrations",
        "_failures",
        "_limited",
        "_queue",
        "_quota",
        "_rates",
        "outputs",
    )

    def __init__(self, quota: Quota, queue: FairQueue, failures: FailureTracker) -> None:
        self._quota = quota
        self._queue = queue
        self._failures = failures
        self._arrivals = Arrivals()
        self.outputs = OutputAhead()
        self._calibrations = tuple(WaitCalibration() for _ in Priority)
        self._alone_calibrations = tuple(WaitCalibration(_MOST_TAKEN, 0) for _ in Priority)
        self._rates: dict[int, float] = {}  # rates that predictions rely on, as if nobody else used the key
        self._basis = 0  # how often those rates have changed by much
        self._limited: tuple[tuple[int, DimensionLimit], ...] = ()  # the limits when the rates were last read

    def dump(self, now_ns: int) -> WaitForecastState:
        """The state, for `restore`."""
        return WaitForecastState(
            tuple(each.dump(now_ns) for each in self._calibrations),
            tuple(each.dump(now_ns) for each in self._alone_calibrations),
            tuple(self._rates.items()),
            self._basis,
            self._arrivals.dump(now_ns),
            self.outputs.dump(now_ns),
        )

    @classmethod
    def restore(
        cls, state: WaitForecastState, now_ns: int, quota: Quota, queue: FairQueue, failures: FailureTracker
    ) -> Self:
        """A forecast that continues from `state`."""
        forecast = cls(quota, queue, failures)
        forecast._calibrations = tuple(WaitCalibration.restore(each, now_ns) for each in state.calibrations)
        forecast._alone_calibrations = tuple(
            WaitCalibration.restore(each, now_ns, _MOST_TAKEN, 0) for each in state.alone_calibrations
        )
        forecast._rates = dict(state.rates)
        forecast._basis = state.basis
        if state.arrivals is not None:
            forecast._arrivals = Arrivals.restore(state.arrivals, now_ns)
        if state.answers is not None:
            forecast.outputs = OutputAhead.restore(state.answers, now_ns)
        return forecast

    def predict_for(self, waiter: Waiter, now_ns: int) -> int:
        """The predicted wait of a new waiter. Notes the uncorrected predictions on it, for `observe`."""
        demand = waiter.demand
        formula_ns, alone_ns, predicted_ns = self._predict(
            demand, self._queue.ahead(demand, now_ns, self._arrivals), now_ns, 0
        )
        if self._quota.is_known:  # a guess at unknown limits proves nothing
            waiter.formula_ns, waiter.alone_ns, waiter.basis = formula_ns, alone_ns, self._present_basis()
        return predicted_ns

    def joined(self, waiter: Waiter, now_ns: int) -> None:
        """Counts a new waiter that has joined the queue."""
        self._arrivals.of_class(waiter.demand.caller.rank).observe(waiter.demand.caller.name, now_ns)

    def observe(self, waiter: Waiter, now_ns: int) -> None:
        """Compares the real wait of an admitted waiter with the prediction, if the rates are still about the same."""
        if waiter.formula_ns and waiter.basis == self._present_basis():
            rank, waited_ns = waiter.demand.caller.rank, now_ns - waiter.since_ns
            self._calibrations[rank].observe(waiter.formula_ns, waited_ns, now_ns)
            self._alone_calibrations[rank].observe(waiter.alone_ns, waited_ns, now_ns)

    def predict_ns(self, demand: Demand, now_ns: int, least_ns: int) -> int:
        """The predicted wait of a demand. The formula counts at least `least_ns`."""
        *_, predicted_ns = self._predict(demand, self._queue.ahead(demand, now_ns, self._arrivals), now_ns, least_ns)
        return predicted_ns

    def left_ns(self, waiter: Waiter, now_ns: int) -> int | None:
        """The probable remaining wait of one of the waiters; None while no limit is known to predict by."""
        quota = self._quota
        if not (quota.is_known or quota.limits.limited or quota.frozen_ns(now_ns)):
            return None
        least_ns = self._failures.wait_ns(now_ns)
        *_, left_ns = self._predict(waiter.demand, self._queue.before(waiter, now_ns, self._arrivals), now_ns, least_ns)
        return left_ns

    def batch_wait_ns(self, head: Waiter, wait_ns: int) -> int:
        """Time until the next look at a queue whose head fits in `wait_ns`: a moment later, if others fit then.

        Nothing is lost: no bucket is full before, because only half of the time until then is used.
        """
        if not 0 < wait_ns < _BATCH_NS or len(self._queue) == 1:
            return wait_ns
        return min(_BATCH_NS, wait_ns + self._quota.limits.full_in_ns(head.demand.cost, above=True) // 2)

    def may_refuse(self, demand: Demand, now_ns: int) -> bool:
        """Whether a prediction is good enough to refuse the demand.

        A freeze is certain, and so is a price in requests alone. Prices in tokens are estimates and have to be tested
        before. A searched rate that was not measured well is no reason to refuse.
        """
        is_exact = not (demand.cost.input_tokens or demand.cost.output_tokens)
        outlasts = demand.patience_ns is not None and self._quota.frozen_ns(now_ns) > demand.patience_ns
        return outlasts or (self._quota.is_sure and (is_exact or self._calibrations[demand.caller.rank].is_tested))

    def _predict(self, demand: Demand, ahead: Work, now_ns: int, least_ns: int) -> tuple[int, int, int]:
        """The prediction by the formula, at least `least_ns`; the one "alone"; and the corrected one.

        `ahead` is the work that goes before the demand.
        """
        quota, rank = self._quota, demand.caller.rank
        frozen_ns = quota.frozen_ns(now_ns)
        formula_ns = max(least_ns, self._formula_ns(demand.cost, ahead, frozen_ns, now_ns))
        frozen_ns = min(frozen_ns, formula_ns)  # the freeze is certain: only the rest is corrected
        uncertain_ns = formula_ns - frozen_ns
        share = _least_share(quota.limits.limited)
        # The same object where the number is the same: many thousands may wait, and keep both.
        alone_ns = formula_ns if share == 1.0 else frozen_ns + round(uncertain_ns * share)
        corrected_ns = self._calibrations[rank].corrected_ns(uncertain_ns)
        if share < 1:
            corrected_ns = min(corrected_ns, self._alone_calibrations[rank].corrected_ns(alone_ns - frozen_ns))
        return formula_ns, alone_ns, frozen_ns + corrected_ns

    def _present_basis(self) -> int:
        """A number that grows when a rate changes by much, or an outage begins or ends.

        The duration of an outage says nothing about how fast a queue moves after it.
        """
        limited = self._quota.limits.limited
        if limited is not self._limited:
            self._limited = limited
            rates = {index: (limit.per_minute or 0.0) / limit.share for index, limit in limited}
            if _differ(self._rates, rates):
                self._rates = rates
                self._basis += 1
        return self._basis + self._failures.outage_changes

    def _formula_ns(self, cost: Cost, ahead: Work, frozen_ns: int, now_ns: int) -> int:
        """The refill time for this demand and all before it. In a freeze, no more refills than the buckets hold."""
        quota, limits = self._quota, self._quota.limits
        if not frozen_ns:
            return quota.wait_behind_ns(cost, ahead, now_ns, self.outputs)
        refilled_ns = limits.wait_behind_ns(cost, ahead, now_ns, self.outputs)
        thawed_ns = max(0, limits.service_time_ns(plus(ahead, cost)) - limits.full_in_ns(cost))
        return max(refilled_ns, frozen_ns + thawed_ns)


def _least_share(limited: Iterable[tuple[int, DimensionLimit]]) -> float:
    least = 1.0  # no `min` over a generator: each waiter passes here
    for _, limit in limited:
        if (share := limit.share) < least:
            least = share
    return least


def _differ(before: Mapping[int, float], after: Mapping[int, float]) -> bool:
    """Whether a rate of one dimension has changed by much, or a limit has come into being or ended."""
    return before.keys() != after.keys() or any(
        abs(after[index] - rate) > _OTHER_RATE * rate for index, rate in before.items()
    )
