"""Shares of the quota that were used in the last minute, and in the last ten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand, Outcome
from tidegate.core.domain.dimension import Cost, Dimension
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import LimitSettings, PoolSettings
from tidegate.core.limits.recent_use import RecentUse
from tidegate.core.pool.pool import Pool


class Using(RecentUse):
    """What is used, under a quota that a test may change."""

    def __init__(self) -> None:
        self.rates: list[float | None] = [60.0, 6_000.0, None]
        super().__init__(lambda _now_ns: self.rates, 0)

    def of_requests(self, now_ns: int) -> list[float | None]:
        return list(self.shares(now_ns)[0])


def test_nothing_used_is_no_share_and_without_quota_there_is_none() -> None:
    assert Using().shares(0) == [(0.0, 0.0), (0.0, 0.0), (None, None)]


def test_use_counts_for_as_long_as_the_shares_go_back() -> None:
    recent = Using()
    recent.add(30, 600, 9, 0)
    assert recent.shares(S) == [(0.5, 0.05), (0.1, 0.01), (None, None)]
    assert recent.shares(60 * S) == [(0.5, 0.05), (0.1, 0.01), (None, None)]
    assert recent.of_requests(63 * S) == pytest.approx([0.2, 0.05]), "two of five seconds are left of the slice"
    assert recent.of_requests(65 * S) == [0.0, 0.05]
    assert recent.of_requests(605 * S) == [0.0, 0.0]


def test_steady_use_has_a_steady_share() -> None:
    recent = Using()
    for second in range(1_200):
        recent.add(1, 50, 0, second * S)
    assert recent.shares(1_200 * S) == [(1.0, 1.0), (0.5, 0.5), (None, None)]


def test_restored_shares_are_the_same_and_age_alike() -> None:
    recent = Using()
    for number in range(7):
        recent.rates[0] = 60.0 + number
        recent.add(number, 100 * number, 0, number * 7 * S)
    state, now_ns = recent.dump(43 * S), 43 * S
    restored = RecentUse.restore(state, 0, lambda _now_ns: recent.rates)
    assert len(state.past) == 6
    assert restored.dump(0) == state
    for later_ns in (0, S, 22 * S, 570 * S, 590 * S):
        assert restored.shares(later_ns) == recent.shares(now_ns + later_ns)


def test_a_quota_that_changed_counts_as_it_was() -> None:
    recent = Using()
    for second in range(30):
        recent.add(1, 0, 0, second * S)
    recent.add(0, 0, 0, 30 * S)
    recent.rates = [120.0, 10.0, None]
    for second in range(30, 60):
        recent.add(2, 0, 0, second * S)
    shares = recent.shares(60 * S)
    assert list(shares[0]) == pytest.approx([90 / 90, 90 / (9.5 * 120 + 0.5 * 60)])
    assert shares[1] == (0.0, 0.0)


def test_silence_makes_no_slice_longer() -> None:
    recent = Using()
    recent.add(60, 0, 0, S)
    recent.add(0, 0, 0, 300 * S)
    assert recent.of_requests(300 * S) == pytest.approx([0.0, 0.1])


@given(st.lists(st.tuples(st.integers(0, 40) | st.just(2_000), st.integers(0, 100)), max_size=300))
def test_state_is_bounded_and_shares_are_those_of_all_that_was_used(steps: list[tuple[int, int]]) -> None:
    recent, now_ns, uses = Using(), 0, []
    for seconds, units in steps:
        now_ns += seconds * S
        recent.add(units, 0, 0, now_ns)
        uses.append((now_ns, units))
    assert len(recent._past) <= 121
    for minutes, share in zip((1, 10), recent.of_requests(now_ns), strict=True):
        # Of the slice in which the time begins, only a part counts.
        least = sum(units for at_ns, units in uses if at_ns > now_ns - minutes * 60 * S + 5 * S)
        most = sum(units for at_ns, units in uses if at_ns > now_ns - minutes * 60 * S - 5 * S)
        assert share is not None
        assert least <= share * minutes * 60 + 1e-6
        assert share * minutes * 60 <= most + 1e-6


def test_a_pool_shows_what_the_upstream_has_charged() -> None:
    pool = Pool("p", PoolSettings(), 0)
    pool.reserve("a", Demand("p", DEFAULT_CALLER, Cost(1, 100, 500)), 0)
    said = DimensionReport(60, 59, S), DimensionReport(6_000, 5_900, S), DimensionReport(3_000, 3_000, S)
    pool.learn(LimitReport(*said, answered=True), S)
    shown = pool.snapshot(S).dimensions
    assert [each.used_share_1_minute for each in shown] == [1 / 60, 100 / 6_000, 0.0], "nothing is produced yet"
    pool.charge("a", Cost(1, 300, 30), 7 * S)
    pool.end("a", Outcome.SETTLED, Cost(1, 300, 60), 14 * S)
    shown = pool.snapshot(14 * S).dimensions
    assert [each.used_share_1_minute for each in shown] == [1 / 60, 300 / 6_000, 60 / 3_000]
    assert [each.used_share_10_minutes for each in shown] == pytest.approx([1 / 600, 0.005, 0.002])


def test_what_is_given_back_was_not_used() -> None:
    pool = Pool("p", PoolSettings({Dimension.REQUESTS: LimitSettings(60, 10)}), 0)
    for number, outcome in enumerate([Outcome.RELEASED, Outcome.THROTTLED, Outcome.OVERLOADED]):
        pool.reserve(f"{number}", Demand("p", DEFAULT_CALLER, Cost(1)), 0)
        pool.end(f"{number}", outcome, None, 0)
    pool.reserve("now", Demand("p", DEFAULT_CALLER, Cost(1), settle_at_once=True), 6 * S)
    pool.release("now", 6 * S)
    assert pool.snapshot(6 * S).dimensions[0].used_share_1_minute == 1 / 60


def test_output_that_comes_in_parts_adds_up() -> None:
    use = RecentUse(lambda _now_ns: (None, None, 100.0), 0)
    use.add(0, 0, 30, 0)
    use.add(0, 0, 20, 0)
    *_, (last_minute, _) = use.shares(60 * S)
    assert last_minute == pytest.approx(0.5)
