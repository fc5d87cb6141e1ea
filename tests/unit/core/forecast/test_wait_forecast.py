"""The waits from which the forecast learns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest
from msgspec import structs

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.failures.failure_tracker import FailureTracker
from tidegate.core.forecast.wait_forecast import WaitForecast
from tidegate.core.leases.output_ahead import OutputAhead
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter
from tidegate.core.queue.work_ahead import Work

if TYPE_CHECKING:
    from tidegate.core.quota.quota import Quota

DEMAND = Demand("p", DEFAULT_CALLER, Cost(1, 1_000))

CORRECTED_NS = round(S * (1 + 0.2 / 21))
"""A wait of one second, after the first one was a quarter longer than predicted."""


@dataclass
class Limit:
    """So much a minute is left to us; it is this share of the whole."""

    per_minute: float
    share: float


class Limited:
    """A quota of input tokens whose bucket is empty."""

    is_known = True
    freeze_ns = 0

    def __init__(self, limit: Limit) -> None:
        self.becomes(limit)

    def becomes(self, limit: Limit) -> None:
        self.limit, self.limited = limit, ((1, limit),)

    def frozen_ns(self, _now_ns: int) -> int:
        return self.freeze_ns

    def wait_behind_ns(self, cost: Cost, _ahead: Work, _now_ns: int, _outputs: OutputAhead) -> int:
        return self.service_time_ns(cost)

    @property
    def limits(self) -> "Limited":
        return self

    def service_time_ns(self, cost: Sequence[float]) -> int:
        return round(cost[1] / self.limit.per_minute * 60 * S)

    def full_in_ns(self, _cost: Cost) -> int:
        return 0


@pytest.mark.parametrize(
    ("meanwhile", "then_ns"),
    [(Limit(60_000, 1.0), CORRECTED_NS), (Limit(15_000, 0.25), CORRECTED_NS), (Limit(15_000, 1.0), S)],
    ids=["nothing changed", "somebody took three quarters", "the limit was another"],
)
def test_others_who_come_and_go_make_no_other_rate(meanwhile: Limit, then_ns: int) -> None:
    usual = Limit(60_000, 1.0)
    quota = Limited(usual)
    forecast = WaitForecast(
        cast("Quota", quota), FairQueue(lambda: (0.0, 0.0, 0.0), lambda _now_ns: 1), FailureTracker("p", [], 0)
    )
    waiter = Waiter("a", DEMAND, since_ns=0)
    assert forecast.predict_for(waiter, 0) == S
    quota.becomes(meanwhile)
    forecast.observe(waiter, 5 * S // 4)
    quota.becomes(usual)
    assert forecast.predict_ns(DEMAND, 2 * S, 0) == then_ns


def test_a_freeze_is_certain_and_others_are_left_out_of_the_rest() -> None:
    quota = Limited(Limit(15_000, 0.25))
    quota.freeze_ns = 3 * S
    forecast = WaitForecast(
        cast("Quota", quota), FairQueue(lambda: (0.0, 0.0, 0.0), lambda _now_ns: 1), FailureTracker("p", [], 0)
    )
    assert forecast.predict_ns(DEMAND, 0, 0) == 4 * S


def test_a_freeze_is_certain_and_experience_is_about_the_rest() -> None:
    quota = Limited(Limit(15_000, 0.25))
    forecast = WaitForecast(
        cast("Quota", quota), FairQueue(lambda: (0.0, 0.0, 0.0), lambda _now_ns: 1), FailureTracker("p", [], 0)
    )
    waiter = Waiter("a", DEMAND, since_ns=0)
    forecast.predict_for(waiter, 0)
    forecast.observe(waiter, 4 * S)  # as the formula with others says, four times as long as that without
    quota.becomes(Limit(60_000, 1.0))
    quota.freeze_ns = 3 * S
    assert forecast.predict_ns(DEMAND, 4 * S, 0) == 4 * S


def test_a_dump_from_before_arrivals_and_answers_were_counted_can_be_read() -> None:
    quota = cast("Quota", Limited(Limit(60_000, 1.0)))
    queue, failures = FairQueue(lambda: (0.0, 0.0, 0.0), lambda _now_ns: 1), FailureTracker("p", [], 0)
    forecast = WaitForecast(quota, queue, failures)
    older = structs.replace(forecast.dump(0), arrivals=None, answers=None)
    assert WaitForecast.restore(older, S, quota, queue, failures).dump(S) == forecast.dump(0)
