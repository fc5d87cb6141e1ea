"""The waits from which the forecast learns."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import pytest
from msgspec import structs

from tidegate.core.domain.caller import DEFAULT_CALLER, Caller
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.failures.failure_tracker import FailureTracker
from tidegate.core.forecast.wait_forecast import WaitForecast
from tidegate.core.leases.open_leases import OpenLease
from tidegate.core.leases.output_ahead import OutputAhead
from tidegate.core.queue.fair_queue import FairQueue
from tidegate.core.queue.waiter import Waiter
from tidegate.core.queue.work_ahead import Work, plus

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
        self.limit = limit
        self.limited: tuple[tuple[int, Limit], ...] = ((1, limit),)

    def frozen_ns(self, now_ns: int) -> int:
        assert isinstance(now_ns, int)
        return self.freeze_ns

    def wait_behind_ns(self, cost: Cost, ahead: Work, now_ns: int, outputs: OutputAhead) -> int:
        assert isinstance(now_ns, int)
        assert isinstance(outputs, OutputAhead)
        return self.service_time_ns(plus(ahead, cost))

    @property
    def limits(self) -> "Limited":
        return self

    def service_time_ns(self, cost: Sequence[float]) -> int:
        return round(cost[1] / self.limit.per_minute * 60 * S)

    def full_in_ns(self, _cost: Cost, *, above: bool = False) -> int:
        return S if above else 0


def forecast_of(quota: Limited, failures: FailureTracker | None = None) -> WaitForecast:
    queue = FairQueue(lambda: (0.0, 60 * S / quota.limit.per_minute, 0.0), lambda _now_ns: 1)
    return WaitForecast(cast("Quota", quota), queue, failures or FailureTracker("p", [], 0))


def waits(forecast: WaitForecast, now_ns: int, wait_ns: int) -> int:
    """A request comes and is admitted after some wait. Returns the one that was predicted."""
    waiter = Waiter("a", DEMAND, since_ns=now_ns)
    predicted_ns = forecast.predict_for(waiter, now_ns)
    forecast.observe(waiter, now_ns + wait_ns)
    return predicted_ns


@pytest.mark.parametrize(
    ("meanwhile", "then_ns"),
    [(Limit(60_000, 1.0), CORRECTED_NS), (Limit(15_000, 0.25), CORRECTED_NS), (Limit(15_000, 1.0), S)],
    ids=["nothing changed", "somebody took three quarters", "the limit was another"],
)
def test_others_who_come_and_go_make_no_other_rate(meanwhile: Limit, then_ns: int) -> None:
    usual = Limit(60_000, 1.0)
    quota = Limited(usual)
    forecast = forecast_of(quota)
    waiter = Waiter("a", DEMAND, since_ns=0)
    assert forecast.predict_for(waiter, 0) == S
    quota.becomes(meanwhile)
    forecast.observe(waiter, 5 * S // 4)
    quota.becomes(usual)
    assert forecast.predict_ns(DEMAND, 2 * S, 0) == then_ns


def test_a_freeze_is_certain_and_others_are_left_out_of_the_rest() -> None:
    quota = Limited(Limit(15_000, 0.25))
    quota.freeze_ns = 3 * S
    forecast = forecast_of(quota)
    assert forecast.predict_ns(DEMAND, 0, 0) == 4 * S


def test_a_freeze_is_certain_and_experience_is_about_the_rest() -> None:
    quota = Limited(Limit(15_000, 0.25))
    forecast = forecast_of(quota)
    waiter = Waiter("a", DEMAND, since_ns=0)
    forecast.predict_for(waiter, 0)
    forecast.observe(waiter, 4 * S)  # as the formula with others says, four times as long as that without
    quota.becomes(Limit(60_000, 1.0))
    quota.freeze_ns = 3 * S
    assert forecast.predict_ns(DEMAND, 4 * S, 0) == 4 * S


def test_without_others_only_the_formula_for_all_is_corrected() -> None:
    forecast = forecast_of(Limited(Limit(60_000, 1.0)))
    assert waits(forecast, 0, 9 * S // 10) == S
    assert forecast.predict_ns(DEMAND, S, 0) == round(S * (1 - 0.1 / 21))


def test_a_single_wait_shows_what_others_take() -> None:
    forecast = forecast_of(Limited(Limit(15_000, 0.25)))
    assert waits(forecast, 0, 2 * S) == S
    assert forecast.predict_ns(DEMAND, S, 0) == 2 * S


def test_of_many_waits_the_newest_counts_most() -> None:
    forecast = forecast_of(Limited(Limit(15_000, 0.25)))
    for number in range(40):
        assert waits(forecast, 10 * number * S, S) == S
    waits(forecast, 400 * S, 3 * S)
    assert forecast.predict_ns(DEMAND, 410 * S, 0) == round(S * (1 + 2 * 0.05))


def test_a_forecast_continues_from_its_dump() -> None:
    quota = Limited(Limit(15_000, 0.25))
    forecast, later_ns, shift_ns = forecast_of(quota), 100 * S, 7_000 * S
    for number in range(3):
        waits(forecast, 10 * number * S, (number + 1) * S)
    forecast.joined(Waiter("b", DEMAND), S)
    for tokens in range(1, 12):
        lease = OpenLease(structs.replace(DEMAND, cost=Cost(1, 0, tokens)), (), S)
        forecast.outputs.ended(lease, tokens, 2 * S)
    state = forecast.dump(later_ns)
    assert state.arrivals is not None
    assert state.answers is not None
    restored = WaitForecast.restore(
        state, later_ns + shift_ns, cast("Quota", quota), forecast._queue, FailureTracker("p", [], 0)
    )
    assert restored.dump(later_ns + shift_ns) == state
    assert waits(forecast, later_ns, 9 * S) == waits(restored, later_ns + shift_ns, 9 * S) == 2 * S
    assert restored.dump(later_ns + shift_ns + 9 * S) == forecast.dump(later_ns + 9 * S)


def test_requests_that_join_meanwhile_lengthen_a_wait() -> None:
    """A rival with four times the weight has ten requests in the queue, and sends one every two seconds."""
    rival = Demand("p", Caller("rival", weight=4.0), Cost(1, 1_000))
    steady, quiet = (forecast_of(Limited(Limit(60_000, 1.0))) for _ in range(2))
    last = Waiter("a9", DEMAND, since_ns=60 * S)
    for forecast in (steady, quiet):
        for number in range(10):
            forecast._queue.push(Waiter(f"r{number}", rival))
            forecast._queue.push(last if number == 9 else Waiter(f"a{number}", DEMAND))
    for number in range(30):
        steady.joined(Waiter("r", rival), 2 * number * S)

    def predictions(forecast: WaitForecast) -> tuple[int, int, int | None]:
        new = Waiter("new", DEMAND)
        return (
            forecast.predict_ns(DEMAND, 60 * S, 0),
            forecast.predict_for(new, 60 * S),
            forecast.left_ns(last, 60 * S),
        )

    assert predictions(quiet) == (21 * S, 21 * S, 20 * S)
    assert all(left_ns is not None and left_ns > 30 * S for left_ns in predictions(steady))


def test_an_outage_is_the_least_wait_that_is_left() -> None:
    failures = FailureTracker("p", [], 0)
    forecast, waiter = forecast_of(Limited(Limit(600_000, 1.0)), failures), Waiter("a", DEMAND)
    forecast._queue.push(waiter)
    assert forecast.left_ns(waiter, 0) == S // 10
    for _ in range(5):
        failures.sent(0)
        failures.failed(0, 0)
    assert forecast.left_ns(waiter, 0) == failures.wait_ns(0) > S // 10


def test_nothing_is_predicted_while_no_limit_is_known_unless_by_a_freeze() -> None:
    quota, waiter = Limited(Limit(60_000, 1.0)), Waiter("a", DEMAND)
    forecast = forecast_of(quota)
    forecast._queue.push(waiter)
    quota.is_known = False
    assert forecast.left_ns(waiter, 0) == S, "a limit is assumed"
    quota.limited = ()
    assert forecast.left_ns(waiter, 0) is None
    quota.freeze_ns = 3 * S
    assert forecast.left_ns(waiter, 0) == 4 * S


def test_a_head_that_may_go_now_does_not_wait_for_others() -> None:
    forecast, head = forecast_of(Limited(Limit(60_000, 1.0))), Waiter("a", DEMAND)
    forecast._queue.push(head)
    forecast._queue.push(Waiter("b", DEMAND))
    assert forecast.batch_wait_ns(head, 0) == 0
    assert forecast.batch_wait_ns(head, S // 1_000) == S // 250


def test_a_dump_from_before_arrivals_and_answers_were_counted_can_be_read() -> None:
    quota = cast("Quota", Limited(Limit(60_000, 1.0)))
    queue, failures = FairQueue(lambda: (0.0, 0.0, 0.0), lambda _now_ns: 1), FailureTracker("p", [], 0)
    forecast = WaitForecast(quota, queue, failures)
    older = structs.replace(forecast.dump(0), arrivals=None, answers=None)
    assert WaitForecast.restore(older, S, quota, queue, failures).dump(S) == forecast.dump(0)
