"""One answer that tells a limit that cannot be is not believed; two are."""

import pytest

from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.events import Anomaly
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.limits.reported_limit import ReportedLimit
from tidegate.core.pool.pool import Pool

FULL = DimensionReport(300, 60, 0)


def told(*per_minute: int) -> list[tuple[int | None, bool]]:
    limit = ReportedLimit()
    checked = (limit.observe(DimensionReport(each)) for each in per_minute)
    return [(None if said is None else said.per_minute, was_wrong) for said, was_wrong in checked]


class TestJumps:
    def test_the_first_limit_and_changes_are_believed(self) -> None:
        assert told(50, 200, 1, 200, 800) == [(50, False), (200, False), (1, False), (200, False), (800, False)]

    def test_a_jump_is_believed_the_second_time(self) -> None:
        assert told(50, 201, 201, 804) == [(50, False), (None, False), (201, False), (804, False)]

    def test_one_that_is_not_repeated_was_wrong(self) -> None:
        assert told(50, 10**7, 50, 50) == [(50, False), (None, False), (50, True), (50, False)]
        assert told(50, 10**7, 10**6, 10**6) == [(50, False), (None, False), (None, True), (10**6, False)]

    def test_an_answer_that_says_nothing_proves_nothing(self) -> None:
        limit = ReportedLimit()
        limit.observe(FULL)
        limit.observe(DimensionReport(10**7))
        assert limit.observe(None) == (None, False)
        assert limit.observe(FULL) == (FULL, True)


def test_limits_that_are_not_told_any_more() -> None:
    limit = ReportedLimit()
    assert [limit.observe_missing() for _ in range(2)] == [False, False]
    limit.observe(FULL)
    assert [limit.observe_missing() for _ in range(3)] == [False, False, True]


class TestPool:
    @pytest.fixture
    def state(self) -> Pool:
        state = Pool("p", PoolSettings(), 0)
        state.reserve("first", Demand("p", DEFAULT_CALLER, Cost(1, 100)), 0)
        state.learn(LimitReport(FULL), 0)
        state.drain_events()
        return state

    def test_one_absurd_answer_lets_nobody_go_and_is_counted(self, state: Pool) -> None:
        state.learn(LimitReport(DimensionReport(10**7, 10**7, 0)), S)
        assert state.snapshot(S).dimensions[0].upstream_per_minute == 300
        assert state.drain_events() == ()
        state.learn(LimitReport(FULL), 2 * S)
        assert state.drain_events() == (Anomaly("p", AnomalyKind.LIMITS),)

    def test_a_limit_that_only_one_answer_told_is_forgotten(self, state: Pool) -> None:
        state.learn(LimitReport(FULL, DimensionReport(1, 0)), S)
        assert state.snapshot(S).dimensions[1].effective_per_minute == 1
        for seconds in (2, 3):
            state.learn(LimitReport(FULL), seconds * S)
            state.learn(LimitReport(FULL, faults=(AnomalyKind.LIMITS,)), seconds * S)
        assert state.snapshot(3 * S).dimensions[1].effective_per_minute == 1
        state.learn(LimitReport(FULL, faults=(AnomalyKind.CLOCK,)), 4 * S)
        assert state.snapshot(4 * S).dimensions[1].effective_per_minute is None
        assert state.snapshot(4 * S).dimensions[0].effective_per_minute == 300
