"""Each change of the effective rate of a pool is reported once, with its reason."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.events import Event, LimitLearned, RateChanged
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings, PoolSettings
from tidegate.core.limits.dimension_limit import DimensionLimit
from tidegate.core.limits.fixed_window import FixedWindowVotes
from tidegate.core.pool.pool import Pool
from tidegate.core.quota.quota import Quota
from tidegate.core.quota.rate_changes import RateChanges

CONFIGURED = PoolSettings({Dimension.REQUESTS: LimitSettings(60, 2), Dimension.INPUT_TOKENS: LimitSettings(6_000, 100)})
TOLD = LimitReport(DimensionReport(6_000, 3_000, 30 * S))
UNTOLD = LimitReport()


def learning(*reports: LimitReport) -> Quota:
    quota = Quota("p", PoolSettings(), 0)
    for report in reports:
        quota.learn_limits(report, 0)
    quota.events.clear()
    return quota


def measured() -> Quota:
    """A pool without reported limits, whose rate is known from two 429s: 20 requests a second."""
    quota = learning(UNTOLD)
    for second in range(1, 11):
        charge(quota, 50, second)
        quota.demand_seen(second * S)
    refuse(quota, 10)
    quota.learn_limits(LimitReport(sent_ago_ns=0), 12 * S)
    charge(quota, 400, 30)
    refuse(quota, 30)
    quota.learn_limits(LimitReport(sent_ago_ns=0), 32 * S)
    quota.events.clear()
    return quota


def charge(quota: Quota, count: int, at_s: int) -> None:
    for _ in range(count):
        quota.charge(Cost(1), at_s * S)


def refuse(quota: Quota, at_s: float) -> None:
    quota.learn_429(RateLimited(S, sent_ago_ns=0), round(at_s * S))


def grow(quota: Quota) -> None:
    """Two a second were tried, for a second, and somebody waits for more."""
    charge(quota, 2, 0)
    quota.demand_seen(S)


def changes(events: list[Event]) -> list[RateChanged]:
    return [event for event in events if isinstance(event, RateChanged)]


@pytest.mark.parametrize(
    ("quota", "happens", "reason", "before", "after"),
    [
        (
            Quota("p", PoolSettings(CONFIGURED.limits, AdaptiveSettings()), 0),
            lambda quota: quota.learn_429(RateLimited(), 0),
            "rate_limited",
            [60, 6_000],
            [54, 5_400],
        ),
        (learning(), lambda quota: quota.learn_limits(TOLD, 0), "reported", [None], [6_000]),
        (
            learning(TOLD),
            lambda quota: quota.learn_limits(LimitReport(DimensionReport(12_000, 6_000)), 0),
            "reported",
            [6_000],
            [12_000],
        ),
        (learning(), lambda quota: quota.configure(CONFIGURED, 0), "configured", [None, None], [60, 6_000]),
        (learning(), lambda quota: quota.learn_limits(UNTOLD, 0), "unreported", [None], [120]),
        (learning(), lambda quota: refuse(quota, 1), "rate_limited", [None], [30]),
        (learning(UNTOLD), lambda quota: refuse(quota, 1), "rate_limited", [120], [30]),
        (learning(UNTOLD), grow, "demand", [120], [192]),
        (learning(UNTOLD), lambda quota: quota.learn_limits(TOLD, S), "reported", [120], [6_000]),
    ],
    ids=[
        "a 429 of an adaptive pool",
        "a first report",
        "another limit",
        "configuration",
        "no report at all",
        "a 429 and no report",
        "a 429 in a search",
        "a search grows",
        "a report ends a search",
    ],
)
def test_a_change_is_told_once_with_its_reason(
    quota: Quota, happens: Callable[[Quota], None], reason: str, before: list[float | None], after: list[float]
) -> None:
    happens(quota)
    reported = changes(quota.events)
    assert [(event.pool, event.reason) for event in reported] == [("p", reason)] * len(before)
    assert [event.dimension for event in reported] == list(Dimension)[: len(before)]
    assert [event.before_per_minute for event in reported] == before
    assert [event.after_per_minute for event in reported] == pytest.approx(after)


def test_a_success_gives_back_a_step() -> None:
    quota = Quota("p", PoolSettings(CONFIGURED.limits, AdaptiveSettings()), 0)
    quota.learn_429(RateLimited(), 0)
    quota.events.clear()
    quota.learn_success(0)
    reported = changes(quota.events)
    assert [event.reason for event in reported] == ["succeeded"] * 2
    assert [event.after_per_minute for event in reported] == pytest.approx([54.6, 5_460])


def test_a_step_without_a_change_reports_no_rate() -> None:
    for quota, happens in (
        (learning(TOLD), lambda quota: quota.learn_limits(TOLD, 0)),
        (learning(TOLD), lambda quota: refuse(quota, 1)),
        (learning(), lambda quota: quota.configure(PoolSettings(), 0)),
        (learning(), lambda quota: quota.demand_seen(S)),
    ):
        happens(quota)
        assert changes(quota.events) == []


def test_a_rate_that_grows_with_time_is_told_by_tenths() -> None:
    quota = learning(UNTOLD)
    for millisecond in range(0, 1_001, 5):
        charge(quota, 1, 0)
        quota.demand_seen(millisecond * S // 1_000)
    reported = changes(quota.events)
    assert len(reported) == 4, "1.1 to the fifth power is more than 1.6"
    assert {event.reason for event in reported} == {"demand"}
    for one, next_one in pairwise(reported):
        assert one.after_per_minute == next_one.before_per_minute


def test_each_trial_of_a_measured_rate_is_told() -> None:
    quota = measured()
    charge(quota, 400, 52)
    quota.demand_seen(52 * S)
    quota.demand_seen(52 * S)
    (trial,) = changes(quota.events)
    assert (trial.reason, trial.dimension) == ("demand", Dimension.REQUESTS)
    assert trial.before_per_minute is not None
    assert trial.after_per_minute is not None
    assert 1 < trial.after_per_minute / trial.before_per_minute <= 1.6


def test_others_are_told_when_they_take_or_leave_a_tenth() -> None:
    limits = tuple(DimensionLimit(dimension, FixedWindowVotes()) for dimension in Dimension)
    events: list[Event] = []
    rate_changes = RateChanges("p", events, limits)
    for per_minute in (100.0, 95.0, 90.5, 90.0, 81.5, 99.0):
        limits[0].per_minute = per_minute
        rate_changes.report("competing_traffic", 0.1)
    assert [(event.before_per_minute, event.after_per_minute) for event in changes(events)] == [
        (None, 100.0),
        (100.0, 90.0),
        (90.0, 99.0),
    ]


def test_beside_others_the_pool_tells_what_they_take() -> None:
    pool = Pool("p", PoolSettings(), 0)
    remaining = 3_000
    for second in range(1, 61):
        remaining += 100 - 60  # of 100 that come back a second, others take 60
        report = LimitReport(DimensionReport(6_000, min(remaining, 5_000), 30 * S), sent_ago_ns=S // 10)
        pool.learn(report, second * S)
    first, *rest = pool.drain_events()
    assert isinstance(first, LimitLearned)
    reported = changes(list(rest))
    assert [event.reason for event in reported][:2] == ["reported", "competing_traffic"]
    assert reported[-1].after_per_minute is not None
    assert reported[-1].after_per_minute < 5_000
    assert len(reported) < 20
