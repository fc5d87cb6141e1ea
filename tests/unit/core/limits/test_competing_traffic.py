"""The estimate of competing traffic, from the slope of the remainder."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.limits.competing_traffic import CompetingTraffic
from tidegate.core.limits.refill_line import RefillLine

RATE = 100.0


def line(slope: float, seconds: int = 8, start_ns: int = 0, *, every_ns: int = S // 2) -> RefillLine:
    """An estimator that saw what remains change by so much a second, with no charges of ours."""
    refill = RefillLine()
    for at_ns in range(0, seconds * S + 1, every_ns):
        refill.observe(start_ns + at_ns, 5_000 + slope * at_ns / S, 0)
    return refill


class TestEstimator:
    def test_nobody_is_seen_where_what_remains_rises_at_the_rate(self) -> None:
        assert line(RATE).taken_per_second(RATE) == 0

    @pytest.mark.parametrize("taken", [3, 30, 100])
    def test_what_it_rises_less_by_is_taken_by_others(self, taken: float) -> None:
        assert line(RATE - taken).taken_per_second(RATE) == pytest.approx(taken)

    def test_no_more_than_the_rate_is_taken_however_fast_it_falls(self) -> None:
        assert line(-3 * RATE).taken_per_second(RATE) == RATE

    def test_less_than_a_fiftieth_of_the_rate_is_nobody(self) -> None:
        assert line(RATE - 1.9).taken_per_second(RATE) == 0

    @pytest.mark.parametrize("hours", [1, 4_294])
    def test_hours_between_two_reports_leave_no_trace(self, hours: int) -> None:
        refill = line(RATE, every_ns=S // 7)
        for at_ns in range(0, 8 * S, S // 7):
            refill.observe(hours * 3_600 * S + at_ns, 5_000 + 0.7 * RATE * at_ns / S, 0)
            assert 0 <= refill.taken_per_second(RATE) <= RATE
        assert refill.taken_per_second(RATE) == pytest.approx(0.3 * RATE, rel=1e-6)

    def test_our_own_charges_are_not_somebody_elses(self) -> None:
        refill, charged = RefillLine(), 0
        for second in range(8):
            charged += 80
            refill.observe(second * S, 5_000 + RATE * second - charged, charged)
        assert refill.taken_per_second(RATE) == 0

    def test_four_reports_are_too_few_and_so_is_less_than_two_seconds(self) -> None:
        assert line(0, seconds=3, every_ns=S).taken_per_second(RATE) == 0
        assert line(0, seconds=4, every_ns=S).taken_per_second(RATE) == RATE
        assert line(0, seconds=1, every_ns=S // 10).taken_per_second(RATE) == 0
        assert line(0, seconds=2, every_ns=S // 2).taken_per_second(RATE) == RATE

    def test_the_last_eight_seconds_count(self) -> None:
        assert line(0, seconds=8, every_ns=2 * S).taken_per_second(RATE) == RATE
        assert line(0, seconds=40, every_ns=2 * S + 1).taken_per_second(RATE) == 0, "four reports in them"

    @pytest.mark.parametrize("noise", [400, -400])
    def test_only_what_exceeds_chance_counts(self, noise: float) -> None:
        refill = RefillLine()
        for second in range(8):
            refill.observe(second * S, 5_000 + RATE * second + (noise if second % 2 else -noise), 0)
        assert refill.taken_per_second(RATE) == 0

    @pytest.mark.parametrize("before", [0, 30], ids=["at first", "after others have left the window"])
    def test_the_slope_counts_with_one_and_a_half_standard_errors(self, before: int) -> None:
        seconds = [0.0, 1.0, 2.5, 3.0, 4.5, 6.0, 7.0]
        figures = [5_000.0, 5_030.0, 5_020.0, 5_060.0, 5_075.0, 5_050.0, 5_090.0]
        refill = RefillLine()
        for second in range(before):
            refill.observe(second * S, 777.0 * (second % 3), 0)
        for at_s, figure in zip(seconds, figures, strict=True):
            refill.observe(round((2 * before + at_s) * S), figure, 0)
        slope, intercept = statistics.linear_regression(seconds, figures)
        residual = sum((y - intercept - slope * t) ** 2 for t, y in zip(seconds, figures, strict=True))
        spread = sum((t - statistics.mean(seconds)) ** 2 for t in seconds)
        error = math.sqrt(residual / 5 / spread)
        assert refill.taken_per_second(RATE) == pytest.approx(RATE - slope - 1.5 * error)

    def test_a_competitor_is_seen_within_ten_seconds_and_forgotten_in_as_many(self) -> None:
        refill, remaining = RefillLine(), 5_000.0
        seen = []
        for tenth in range(400):
            taken = 50 if 100 <= tenth < 250 else 0
            remaining += (RATE - taken) / 10
            refill.observe(tenth * S // 10, remaining, 0)
            seen.append(refill.taken_per_second(RATE))
        assert seen[99] == 0
        assert seen[200] == pytest.approx(50)
        assert seen[350] == 0

    def test_a_month_under_load_costs_no_accuracy(self) -> None:
        refill, month = RefillLine(), 30 * 86_400
        refill.observe(0, 0, 0)
        for tenth in range(1_000):
            at_s = month + tenth / 10
            refill.observe(month * S + tenth * S // 10, 0, 0.7 * 33_333 * at_s)
        assert refill.taken_per_second(33_333) == pytest.approx(0.3 * 33_333, rel=1e-6)

    def test_clearing_forgets_everything(self) -> None:
        refill = line(0)
        refill.clear()
        assert refill.taken_per_second(RATE) == 0
        for second in range(8):
            refill.observe(second * S, 100 + RATE * second, 0)
        assert refill.taken_per_second(RATE) == 0

    def test_reports_out_of_order_that_end_where_they_began_tell_nothing(self) -> None:
        refill = RefillLine()
        for at_ns in (2 * S, 4 * S, 3 * S, S, 2 * S):
            refill.observe(at_ns, 5_000, 0)
        assert refill.taken_per_second(RATE) == 0

    @given(st.integers(0, 10**15), st.floats(0, 100))
    def test_the_hour_of_the_day_changes_nothing(self, start_ns: int, slope: float) -> None:
        early, late = line(slope), line(slope, start_ns=start_ns)
        assert late.taken_per_second(RATE) == pytest.approx(early.taken_per_second(RATE))

    @given(st.lists(st.tuples(st.integers(0, S), st.integers(0, 10**6), st.integers(0, 10**6)), max_size=60))
    def test_is_between_0_and_the_rate_whatever_is_reported(self, reports: list[tuple[int, int, int]]) -> None:
        refill, now_ns, charged = RefillLine(), 0, 0
        for pause_ns, remaining, units in reports:
            now_ns, charged = now_ns + pause_ns, charged + units
            refill.observe(now_ns, remaining, charged)
            assert 0 <= refill.taken_per_second(RATE) <= RATE

    def test_heavy_tailed_requests_of_ours_are_rarely_taken_for_a_competitor(self) -> None:
        dice = random.Random(1)  # noqa: S311 - the same at every run
        refill, charged, alarms = RefillLine(), 0, 0
        for step in range(2_000):
            at_ns = step * S // 5
            charged += int(dice.paretovariate(1.5) * 8)
            unseen = dice.uniform(0, 20)  # requests that were charged here but not there yet
            refill.observe(at_ns, 50_000 + RATE * at_ns / S - charged + unseen, charged)
            alarms += refill.taken_per_second(RATE) > 0.1 * RATE
        assert alarms < 20


class TestCompetitor:
    @staticmethod
    def watch(competitor: CompetingTraffic, *, of_the_answer: bool, taken: float, latency_ns: int = 3 * S) -> None:
        """Ten requests of 80 units, one a second, answered late; figures belong to the answer or to the admission."""
        for number in range(10):
            sent_ns, now_ns = number * S, number * S + latency_ns
            then, now = 80 * (number + 1), 80 * (number + 1 + latency_ns // S)
            figure_ns, charged = (now_ns, now) if of_the_answer else (sent_ns, then)
            remaining = round(5_000 + (RATE - taken) * figure_ns / S - charged)
            competitor.observe(remaining, now, now_ns, charged_then=then, sent_ns=sent_ns, rate=RATE)

    @pytest.mark.parametrize("of_the_answer", [True, False])
    def test_is_not_seen_where_there_is_none(self, *, of_the_answer: bool) -> None:
        competitor = CompetingTraffic()
        assert competitor.per_second == 0
        self.watch(competitor, of_the_answer=of_the_answer, taken=0)
        assert competitor.per_second == 0

    @pytest.mark.parametrize("of_the_answer", [True, False])
    def test_is_seen_where_there_is_one(self, *, of_the_answer: bool) -> None:
        competitor = CompetingTraffic()
        self.watch(competitor, of_the_answer=of_the_answer, taken=40)
        assert competitor.per_second == pytest.approx(40)
        assert competitor.left(60 * RATE) == pytest.approx(60 * (RATE - 40))
        assert competitor.left(2_500) == pytest.approx(500), "a fifth is left in any case"

    def test_a_rising_load_of_ours_is_none(self) -> None:
        """Read as figures of the answer, a growing number of requests in flight looks like somebody else."""
        competitor, charged = CompetingTraffic(), [0]
        for second in range(20):
            charged.append(charged[-1] + 10 * second)
        for sent in range(10):
            now = sent + 5
            remaining = round(20_000 + RATE * sent - charged[sent])
            competitor.observe(
                remaining, charged[now], now * S, charged_then=charged[sent], sent_ns=sent * S, rate=RATE
            )
        assert competitor.per_second == 0

    @pytest.mark.parametrize(("after_ns", "left"), [(0, 40), (S // 2, 30), (S, 20), (2 * S, 0), (5 * S, 0)])
    def test_a_competitor_that_leaves_is_forgotten_bit_by_bit(self, after_ns: int, left: float) -> None:
        competitor = CompetingTraffic()
        self.watch(competitor, of_the_answer=True, taken=40)
        last_ns = 12 * S + after_ns  # the last answer came at 12 s; this one tells far more than the line up to then
        competitor.observe(9_000, 1_000, last_ns, charged_then=1_000, sent_ns=last_ns, rate=RATE)
        assert competitor.per_second == pytest.approx(left)

    def test_and_then_as_nobody_once_hardly_anything_is_left(self) -> None:
        competitor = CompetingTraffic()
        self.watch(competitor, of_the_answer=True, taken=40)
        for tenth in range(1, 90):
            now_ns = 12 * S + tenth * S // 10
            competitor.observe(9_000 + 10 * tenth, 1_000, now_ns, charged_then=1_000, sent_ns=now_ns, rate=RATE)
            assert competitor.per_second == 0 or competitor.per_second >= 2
        assert competitor.per_second == 0

    def test_the_estimate_of_a_competitor_that_takes_less_never_falls_below_its_rate(self) -> None:
        competitor, remaining, seen = CompetingTraffic(), 0, []
        for second in range(50):
            remaining += 60 if second < 20 else 80
            competitor.observe(remaining, 0, second * S, charged_then=0, sent_ns=second * S, rate=RATE)
            seen.append(competitor.per_second)
        assert seen[19] == pytest.approx(40)
        assert all(20 - 1e-6 <= each <= 40 + 1e-6 for each in seen[20:])
        assert seen[49] == pytest.approx(20)

    def test_is_forgotten_where_nothing_can_be_seen(self) -> None:
        competitor = CompetingTraffic()
        self.watch(competitor, of_the_answer=True, taken=40)
        competitor.clear()
        assert competitor.per_second == 0
        competitor.observe(0, 0, 20 * S, charged_then=0, sent_ns=20 * S, rate=RATE)
        assert competitor.per_second == 0, "one report is no line"
