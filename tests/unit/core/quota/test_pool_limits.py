"""The waits of three limits that are spent together: the longest counts, and what a cost does not use never does."""

from typing import Final

import pytest

from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.limit_report import DimensionReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.leases.output_ahead import OutputAhead
from tidegate.core.quota.pool_limits import PoolLimits

CAPACITY: Final = Cost(2, 1_000)


@pytest.fixture
def limits() -> PoolLimits:
    """A request a second, two of them at once, and 100 input tokens a second, 1,000 at once; output is not limited."""
    made = PoolLimits()
    given = {Dimension.REQUESTS: LimitSettings(60, 2), Dimension.INPUT_TOKENS: LimitSettings(6_000, 1_000)}
    made.configure(PoolSettings(given), 0)
    made.refresh()
    return made


@pytest.mark.parametrize(
    ("cost", "wait_s"), [(Cost(), 0), (Cost(1), 1), (Cost(0, 500), 5), (Cost(1, 500, 9), 5), (Cost(2, 100), 2)]
)
def test_the_longest_wait_of_those_that_a_cost_uses_counts(limits: PoolLimits, cost: Cost, wait_s: int) -> None:
    assert limits.wait_ns(cost, 0) == limits.own_wait_ns(cost, 0) == 0
    limits.charge(CAPACITY, 0, 0)
    assert limits.wait_ns(cost, 0) == limits.own_wait_ns(cost, 0) == wait_s * S


@pytest.mark.parametrize(
    ("cost", "wait_s"), [(Cost(), 0), (Cost(1), 0.9), (Cost(0, 20), 0.1), (Cost(0, 500), 0.15), (Cost(1, 20, 9), 0.9)]
)
def test_only_what_has_refilled_since_the_last_charge_is_surely_there(cost: Cost, wait_s: float) -> None:
    limits = PoolLimits()
    for limit, per_second in zip(limits, (1.0, 100.0, None), strict=True):
        limit.search(per_second, 0)
    limits.refresh()
    assert limits.unshared_wait_ns(cost, 5 * S, 5 * S + S // 10) == wait_s * S


def test_a_limit_that_is_only_reported_is_none_of_our_own(limits: PoolLimits) -> None:
    output = list(limits)[2]
    output.observe(DimensionReport(600, 0), 0, 0, 0)
    limits.refresh()
    assert (limits.wait_ns(Cost(0, 0, 10), 0) > 0, limits.own_wait_ns(Cost(0, 0, 10), 0)) == (True, 0)


@pytest.mark.parametrize(
    ("cost", "ahead", "full_s", "empty_s"),
    [
        (Cost(1), (3.0, 0.0, 0.0), 2, 4),
        (Cost(1, 100), (3.0, 500.0, 0.0), 2, 6),
        (Cost(0, 100), (0.0, 1_900.0, 0.0), 10, 20),
        (Cost(0, 0, 100), (1.0, 1_900.0, 0.0), 9, 19),
        (Cost(0, 0, 100), (0.0, 0.0, 900.0), 0, 0),
        (Cost(1), (0.5, 0.0, 0.0), 0, 1.5),
    ],
    ids=str,
)
def test_what_goes_before_uses_what_is_available_first(
    limits: PoolLimits, cost: Cost, ahead: tuple[float, float, float], full_s: float, empty_s: float
) -> None:
    waits = [limits.wait_behind_ns(cost, ahead, 0, OutputAhead())]
    limits.charge(CAPACITY, 0, 0)
    waits.append(limits.wait_behind_ns(cost, ahead, 0, OutputAhead()))
    assert waits == [full_s * S, empty_s * S]


class HeardOutput(OutputAhead):
    """Records what it is asked, and answers seven seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[float, ...]] = []

    def wait_ns(self, requests: float, units: float, ns_per_unit: float, wait_ns: int, now_ns: int) -> int:
        self.asked.append((requests, units, ns_per_unit, wait_ns, now_ns))
        return 7 * S


def test_of_output_the_lengths_of_answers_say_how_long_it_takes() -> None:
    limits, output = PoolLimits(), HeardOutput()
    given = {Dimension.REQUESTS: LimitSettings(60, 2), Dimension.OUTPUT_TOKENS: LimitSettings(600, 10)}
    limits.configure(PoolSettings(given), 0)
    limits.refresh()
    assert limits.wait_behind_ns(Cost(1, 0, 4), (3.0, 0.0, 20.0), S, output) == 7 * S
    assert output.asked == [(3.0, 20.0, S / 10, -6 * S // 10, S)]


def test_what_refills_above_a_cost_that_has_just_come_to_fit(limits: PoolLimits) -> None:
    assert [limits.full_in_ns(cost, above=True) for cost in (Cost(1, 500), Cost(0, 500), Cost())] == [S, 5 * S, 0]


def test_the_quota_is_what_the_upstream_reports_or_else_what_is_configured(limits: PoolLimits) -> None:
    assert limits.per_minute(0) == [60, 6_000, None]
    next(iter(limits)).observe(DimensionReport(600, 600), 0, 0, 0)
    assert limits.per_minute(0) == [600, 6_000, None]


def test_a_drained_bucket_has_nothing_in_any_dimension(limits: PoolLimits) -> None:
    limits.drain(0)
    assert [each.available for each in limits.snapshot(0)] == [0, 0, None]
