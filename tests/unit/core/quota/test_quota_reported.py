"""A pool learns from reported limits: limits, margins and events."""

from itertools import pairwise

import pytest

from tidegate.core.domain.anomaly import AnomalyKind
from tidegate.core.domain.dimension import MICRO, ONE_REQUEST, Cost, Dimension
from tidegate.core.domain.events import Anomaly, LimitLearned, RateChanged, Thawed
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.limit_report import DimensionReport, LimitReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import PoolSettings
from tidegate.core.quota.quota import Quota

FAULTS = (AnomalyKind.LIMITS_MISSING, AnomalyKind.CLOCK)


def quota(name: str = "p") -> Quota:
    return Quota(name, PoolSettings(), 0)


def requests(per_minute: int = 6_000, remaining: int = 3_000) -> LimitReport:
    return LimitReport(DimensionReport(per_minute, remaining, 30 * S))


class TestLevels:
    def test_requests_count_at_once_input_and_output_when_they_are_known(self) -> None:
        made = quota()
        for _ in range(2):
            made.charge(Cost(1, 1_000, 200), 0)
        report = DimensionReport(60_000, 10_000)
        made.learn_limits(LimitReport(report, report, report), 0)
        assert [one.available for one in made.limits.snapshot(0)] == [10_000, 8_000, 9_600]

    def test_what_was_sent_since_is_charged_to_an_older_figure(self) -> None:
        made = quota()
        made.learn_limits(requests(), 0)
        made.charge(Cost(1_000), 10 * S)
        older = LimitReport(DimensionReport(9_000, 3_000, 40 * S), sent_ago_ns=2 * S)
        made.learn_limits(older, 11 * S)
        assert made.limits.snapshot(11 * S)[0].available == 2_300, "two seconds at 150, and a charge of 1,000"

    def test_output_that_may_become_more_raises_the_margin_of_output_alone(self) -> None:
        made = quota()
        for second in range(0, 2_000, 10):
            assert made.fits(Cost(500, 500, 500), second * S)
            made.charge(Cost(500, 500, 500), second * S, overdraw_tokens=1_000)
            made.request_ended(0)
            report = DimensionReport(60_000, 9_500, S)  # of a bucket that holds 10,000
            made.close_estimates(500, 500)
            made.learn_limits(LimitReport(report, report, report), second * S)
        margins = [limit.margin_micro / MICRO for _, limit in made.limits.limited]
        assert margins == pytest.approx([500, 500, 1_500])


class TestWhatIsTold:
    @pytest.mark.parametrize(("name", "kinds"), [("p", FAULTS), ("files", FAULTS[1:])])
    def test_headers_are_missed_where_there_should_be_any(self, name: str, kinds: tuple[AnomalyKind, ...]) -> None:
        made = quota(name)
        made.learn_limits(LimitReport(faults=FAULTS), 0)
        assert [event for event in made.events if isinstance(event, Anomaly)] == [Anomaly(name, kind) for kind in kinds]

    def test_another_limit_is_however_little_it_differs(self) -> None:
        made = quota()
        made.learn_limits(requests(), 0)
        made.events.clear()
        made.learn_limits(requests(6_060), S)
        assert made.events == [
            LimitLearned("p", Dimension.REQUESTS, 6_060.0),
            RateChanged("p", Dimension.REQUESTS, 6_000, 6_060, "reported"),
        ]

    def test_what_others_take_is_not_as_long_as_it_is_little(self) -> None:
        made, remaining = quota(), 3_000
        made.learn_limits(requests(), 0)
        made.events.clear()
        for second in range(1, 21):
            remaining += 95
            made.learn_limits(
                LimitReport(DimensionReport(6_000, remaining, (6_000 - remaining) * S // 100)), second * S
            )
        assert 5_500 < (made.limits.snapshot(20 * S)[0].effective_per_minute or 0) < 5_900
        assert made.events == []

    def test_a_limit_that_is_told_no_more_is_none(self) -> None:
        made = quota()
        made.learn_limits(LimitReport(DimensionReport(6_000, 3_000), DimensionReport(60_000, 10_000)), 0)
        made.events.clear()
        for _ in range(3):
            made.learn_limits(LimitReport(DimensionReport(6_000, 3_000)), 0)
        assert made.events == [RateChanged("p", Dimension.INPUT_TOKENS, 60_000, None, "reported")]

    def test_a_freeze_that_begins_as_the_last_one_ends_is_told(self) -> None:
        made = quota()
        made._freeze.extend(S, 0)
        made._freeze.extend(S // 8, S)
        assert len(made.events) == 2

    def test_whoever_asks_how_long_to_wait_hears_that_a_freeze_is_over(self) -> None:
        made = quota()
        made.learn_limits(requests(), 0)
        made._freeze.extend(S, 0)
        made.events.clear()
        assert made.wait_ns(ONE_REQUEST, S - 1) == 1
        assert made.events == []
        assert made.wait_ns(ONE_REQUEST, S) == 0
        assert made.events == [Thawed("p")]


class TestSearch:
    """The upstream reports nothing but 429s."""

    @staticmethod
    def refused(made: Quota, at_s: int, needed: Cost = ONE_REQUEST) -> None:
        made.learn_429(RateLimited(S, sent_ago_ns=0), at_s * S, needed)
        made.learn_limits(LimitReport(), (at_s + 1) * S)

    @staticmethod
    def used(made: Quota, count: int, at_s: int, each: Cost = ONE_REQUEST) -> None:
        for _ in range(count):
            made.charge(each, at_s * S)
            made.request_ended(0)

    @staticmethod
    def rate(made: Quota) -> float:
        return made.limits.limited[0][1].per_minute or 0.0

    def measured(self) -> Quota:
        """At 20 requests a second."""
        made = quota()
        made.learn_limits(LimitReport(), 0)
        for second in range(1, 11):
            self.used(made, 50, second)
            made.demand_seen(second * S)
        self.refused(made, 10)
        self.used(made, 400, 30)
        self.refused(made, 30)
        return made

    def test_every_change_of_a_measured_rate_is_told_however_small(self) -> None:
        made = self.measured()
        for at_s in (50, 70, 90):
            self.used(made, 400, at_s)
            self.refused(made, at_s)
        rates = [self.rate(made)]
        made.events.clear()
        for second in range(91, 130):
            self.used(made, 20, second)
            made.demand_seen(second * S)
            if self.rate(made) != rates[-1]:
                rates.append(self.rate(made))
        assert any(after < 1.1 * before for before, after in pairwise(rates))
        assert [event.after_per_minute for event in made.events if isinstance(event, RateChanged)] == rates[1:]

    def test_a_rate_that_fell_is_a_share_of_what_was_found(self) -> None:
        made = self.measured()
        assert made.limits.limited[0][1].share == 1
        for at_s in (50, 70):
            self.used(made, 200, at_s)
            self.refused(made, at_s)
        assert made.limits.limited[0][1].share == pytest.approx(0.5, rel=0.2)

    def test_what_is_given_back_was_not_used(self) -> None:
        made, other = self.measured(), self.measured()
        for _ in range(200):
            other.charge(Cost(1, 100, 100), 40 * S)
            other.correct_use(-1, -100, 0, 40 * S)
            other.request_ended(0)
        for each in (made, other):
            self.used(each, 400, 50)
            self.refused(each, 50)
        assert self.rate(made) == self.rate(other)

    def test_the_input_that_a_refused_request_lacked_counts(self) -> None:
        """1,000 tokens come back a second, in requests of 100; every second 429 is for one of 8,000."""
        made = quota()
        made.learn_limits(LimitReport(), 0)
        for second in range(11):
            made.demand_seen(second * S)
        self.used(made, 500, 10, Cost(1, 100))
        self.refused(made, 10, Cost(1, 100))
        for number in range(1, 13):
            at_s, is_large = 10 + 20 * number, number % 2
            self.used(made, 121 if is_large else 279, at_s, Cost(1, 100))
            self.refused(made, at_s, Cost(1, 8_000 if is_large else 100))
        ((index, limit),) = made.limits.limited
        assert index == 1, "input is what is limited"
        assert limit.per_minute == pytest.approx(60_000, rel=0.1)


def test_a_limit_that_only_one_answer_reported_is_an_anomaly() -> None:
    made = Quota("p", PoolSettings(), 0)
    for per_minute in (60, 6_000, 60):
        made.learn_limits(LimitReport(DimensionReport(per_minute)), 0)
    assert Anomaly("p", AnomalyKind.LIMITS) in made.events
    assert made.limits.snapshot(0)[0].upstream_per_minute == 60
