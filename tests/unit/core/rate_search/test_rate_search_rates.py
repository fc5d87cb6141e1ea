"""The effect of each 429 on a searched rate, and the times of trials, with figures worked out by hand."""

import pytest

from tidegate.core.domain.dimension import ONE_REQUEST, Cost
from tidegate.core.rate_search.rate_search import RateSearch
from unit.core.rate_search.search_steps import grown, ns, rate, refuse, send


def deep(retry_after_s: int | None = 1) -> RateSearch:
    """A bucket that gave 500 in ten seconds; 10 a second are tried since."""
    search = RateSearch(ns(0), 40)
    send(search, 500, from_s=0, to_s=10)
    refuse(search, 10, retry_after_s)
    return search


def measured(pause_s: float = 1, retry_after_s: int | None = 1) -> RateSearch:
    """10 a second, from 200 seconds until the second 429."""
    search = deep(retry_after_s)
    send(search, 2_000, from_s=10, to_s=210)
    refuse(search, 210, retry_after_s, pause_s)
    return search


def tight(count: int = 0, until_s: int = 0) -> RateSearch:
    """A bucket of one request; 1 a second is tried since. So many were sent until the second 429."""
    search = RateSearch(ns(0), 4)
    send(search, 1, from_s=0, to_s=0)
    refuse(search, 0.1)
    if count:
        send(search, count, from_s=1, to_s=until_s)
        refuse(search, until_s + 0.1)
    return search


def dimension(search: RateSearch, at_s: float) -> int:
    (index,) = (index for index, each in enumerate(search.per_second(ns(at_s))) if each is not None)
    return index


class TestMeasured:
    @pytest.mark.parametrize(
        ("retry_after_s", "pause_s", "excess"),
        [(1, 3, 0.025), (None, 0.5, 0.0125), (None, 1, 0.025), (None, 3, 0.04)],
        ids=["told", "half a second", "a second", "no more than 4 %"],
    )
    def test_what_a_wait_brings_back_lasts_for_twice_as_many_requests_as_one_429_may_cost(
        self, retry_after_s: int | None, pause_s: float, excess: float
    ) -> None:
        """That is one in twenty seconds here, 200 requests. A wait that was told is a second too long, at most."""
        assert rate(measured(pause_s, retry_after_s), 210) == pytest.approx(10 * (1 + excess), rel=1e-5)

    def test_what_the_bucket_holds_is_known_from_the_first_good_measurement_on(self) -> None:
        search = measured(retry_after_s=None)
        send(search, 12_000, from_s=210, to_s=410)
        refuse(search, 410, None, pause_s=3)
        assert rate(search, 410) == pytest.approx(60 * 1.04, rel=1e-3), "for 40 seconds, though five hundred is 8 now"

    def test_after_a_trial_it_is_anywhere_between_what_is_possible(self) -> None:
        search = measured()
        send(search, 200, from_s=210, to_s=230)
        assert rate(search, 230) > rate(measured(), 210)
        send(search, 600, from_s=231, to_s=280)
        refuse(search, 280)
        assert rate(search, 280) == pytest.approx(800 / 70 * 1.025)

    def test_without_one_it_moves_only_as_far_as_it_must(self) -> None:
        search = measured()
        send(search, 800, from_s=211, to_s=280)
        refuse(search, 280)
        assert rate(search, 280) == pytest.approx(800 / 71 * 1.025), "by a second of rounding"

    @pytest.mark.parametrize(
        ("count", "per_second"), [(4, 0.8 + 0.2 / 3), (12, 12 / 13)], ids=["poorly measured", "well"]
    )
    def test_where_any_excess_is_refused_it_is_the_lower_figure_or_a_third_of_the_way(
        self, count: int, per_second: float
    ) -> None:
        assert rate(tight(count, count + 1), count + 1.1) == pytest.approx(per_second)

    def test_one_429_that_comes_too_soon_is_only_a_measurement_more(self) -> None:
        search = tight(200, 201)
        send(search, 14, from_s=203, to_s=219)
        refuse(search, 219.1)
        assert rate(search, 219.1) == pytest.approx(214 / 219)

    def test_two_in_a_row_make_it_forget_what_was_before(self) -> None:
        search = tight(200, 201)
        send(search, 14, from_s=203, to_s=219)
        refuse(search, 219.1)
        send(search, 8, from_s=221, to_s=237)
        refuse(search, 237.1)
        low, high = 8 / 18, 214 / 219
        assert rate(search, 237.1) == pytest.approx(low + (high - low) / 3), "anywhere up to what was tried"

    def test_two_429s_that_name_the_same_moment_measure_nothing(self) -> None:
        search = deep()
        send(search, 100, from_s=12, to_s=20)
        refuse(search, 20, retry_after_s=2)
        before = rate(search, 20)
        send(search, 1, from_s=20.5, to_s=20.5)
        refuse(search, 21, retry_after_s=1)
        assert rate(search, 21) == before


class TestGuess:
    """Who has to wait for long after few requests has a low rate."""

    def test_a_bucket_may_be_worth_a_minute_and_the_time_so_far(self) -> None:
        search = RateSearch(ns(0))
        send(search, 6, from_s=0, to_s=29.5)
        refuse(search, 30, retry_after_s=12)
        assert search.is_measured, "75 seconds of 90"

    def test_a_bucket_is_worth_no_more_than_a_minute_and_the_time_so_far(self) -> None:
        search = RateSearch(ns(0))
        send(search, 8, from_s=0, to_s=29.5)
        refuse(search, 30, retry_after_s=12)
        assert not search.is_measured, "100 seconds of 90"

    def test_two_seconds_may_be_one_by_rounding(self) -> None:
        search = RateSearch(ns(0))
        send(search, 1, from_s=0, to_s=0)
        refuse(search, 0, retry_after_s=2)
        assert rate(search, 0) == 0.5
        for second in range(4, 24, 2):
            send(search, 1, from_s=second, to_s=second)
        assert rate(search, 24) == pytest.approx(0.5 + (1 - 0.5) / 3), "a third of the way to one a second"


class TestTrials:
    def test_a_rate_that_was_measured_well_is_tried_after_20_seconds_and_as_many_requests_as_one_429_may_cost(
        self,
    ) -> None:
        few, early, search = measured(), measured(), measured()
        send(few, 199, from_s=210, to_s=230)
        assert rate(few, 300) == pytest.approx(10.25)
        send(early, 250, from_s=210, to_s=229.9)
        assert rate(early, 229.9) == pytest.approx(10.25)
        send(search, 200, from_s=210, to_s=230)
        assert rate(search, 230) == pytest.approx(10.25 * 1.04)

    def test_one_that_has_fallen_is_tried_after_as_much_less(self) -> None:
        """Four measurements after the fall 10 a second still count as 6.56, and three quarters of 150 are enough."""
        search = measured()
        for at_s in (210, 230, 250, 270):
            send(search, 100, from_s=at_s + 1, to_s=at_s + 20)
            refuse(search, at_s + 20)
        assert search.share == pytest.approx(0.775, rel=0.001)
        before = rate(search, 290)
        send(search, 116, from_s=300, to_s=310)
        assert rate(search, 330) == before
        send(search, 1, from_s=330, to_s=330)
        assert rate(search, 330) > before

    def test_a_rate_proven_above_the_upper_bound_makes_the_next_step_half_of_the_rate(self) -> None:
        """The limit has risen, so the measurement no longer bounds it."""
        search = grown()
        for at_s in (10, 51, 92, 133):
            send(search, 400, from_s=at_s + 1, to_s=at_s + 40.9)
            refuse(search, at_s + 41)
        before = rate(search, 175)
        send(search, 1_500, from_s=175, to_s=205)
        assert rate(search, 205) == pytest.approx(1.5 * before)

    def test_a_step_towards_what_was_too_much_needs_two_seconds(self) -> None:
        search = tight(20, 21)
        before = rate(search, 21.1)
        send(search, 4, from_s=21.1, to_s=23.09)
        assert rate(search, 23.09) == before
        assert rate(search, 23.1) > before

    def test_and_three_requests(self) -> None:
        search = tight(20, 21)
        before = rate(search, 21.1)
        send(search, 2, from_s=22, to_s=24)
        assert rate(search, 60) == before
        send(search, 1, from_s=25, to_s=25)
        assert rate(search, 60) == pytest.approx(before + (1 - before) / 3)

    def test_a_step_by_next_to_nothing_is_none_and_where_any_excess_is_refused_a_trial_is_by_one_percent(self) -> None:
        search = tight(100, 101)
        before = rate(search, 101.1)
        assert before == pytest.approx(1 / 1.01)
        send(search, 100, from_s=102, to_s=220)
        assert rate(search, 220) == before
        send(search, 50, from_s=220, to_s=280)
        assert rate(search, 280) == pytest.approx(1.01 * before)


class TestDimension:
    def test_the_rate_that_is_tried_counts_in_the_units_of_another(self) -> None:
        """At 8.8 requests a second 6,600 tokens a second were tried, and the bucket may have been full."""
        search = RateSearch(ns(0), 6.25)
        send(search, 500, from_s=0, to_s=10)
        refuse(search, 10)
        for number, (count, size) in enumerate(((100, 900), (180, 500), (120, 750))):
            send(search, count, from_s=11 + 20 * number, to_s=30 + 20 * number, cost=Cost(1, size))
            refuse(search, 30 + 20 * number)
        assert dimension(search, 70) == 1
        assert rate(search, 70) == pytest.approx(6_300, rel=0.05)

    def test_what_a_wait_brings_back_are_fewer_requests_the_larger_they_are(self) -> None:
        """1,000 tokens of input come back a second, in requests of 400 each: one and a half in a wait, of 300."""
        search = RateSearch(ns(0), 40)
        send(search, 100, from_s=0, to_s=10, cost=Cost(1, 100))
        refuse(search, 10)
        for number, (count, size) in enumerate(((40, 500), (25, 800), (50, 400), (32, 625), (40, 500))):
            send(search, count, from_s=11 + 20 * number, to_s=30 + 20 * number, cost=Cost(1, size))
            refuse(search, 30 + 20 * number)
        assert dimension(search, 110) == 1
        assert rate(search, 110) == pytest.approx(1_004 * 1.005, rel=0.001)

    @pytest.mark.parametrize("came", [100, 800, 1_000])
    def test_output_is_short_only_if_a_quarter_of_what_is_usual_came_meanwhile(self, came: int) -> None:
        search = RateSearch(ns(0))
        send(search, 500, from_s=0, to_s=10)
        search.corrected(Cost(0, 0, 10_000))
        refuse(search, 10)
        search.corrected(Cost(0, 0, came))
        refuse(search, 11, retry_after_s=4)
        assert (dimension(search, 11) == 2) == (came == 1_000), "a thousand a second, and four seconds"

    def test_what_a_refused_request_needed_counts_as_if_it_had_been_used(self) -> None:
        rates = []
        for size, needed in ((900, 0), (850, 5_000)):
            search = grown()
            at_s = 11.0
            for each in (900, 500, 750, 600, 818, 562):
                send(search, 90_000 // each, from_s=at_s, to_s=at_s + 19, cost=Cost(1, each))
                at_s += 20
                refuse(search, at_s - 1)
            send(search, 100, from_s=at_s, to_s=at_s + 19, cost=Cost(1, size))
            refuse(search, at_s + 19, needed=Cost(1, needed))
            rates.append(rate(search, at_s + 19))
        assert rates[1] == pytest.approx(rates[0], rel=0.01)


class TestOutput:
    @staticmethod
    def short_of_output(burst: int = 500) -> RateSearch:
        """Refused though nothing had been sent but what was produced meanwhile."""
        search = grown(burst)
        search.corrected(Cost(0, 0, 10_000))
        refuse(search, 10.5)
        search.corrected(Cost(0, 0, 4_000))
        refuse(search, 11, retry_after_s=4)
        return search

    @pytest.mark.parametrize(("seconds", "below"), [(400, 0.01), (8, 0.03)], ids=["well measured", "poorly"])
    def test_the_rate_stays_below_what_was_measured_by_as_much_as_that_is_doubtful(
        self, seconds: int, below: float
    ) -> None:
        search = self.short_of_output()
        search.corrected(Cost(0, 0, 3_000 * seconds))
        refuse(search, 14 + seconds)
        assert rate(search, 14 + seconds) == pytest.approx(3_000 * (1 - below), rel=0.003)

    def test_half_of_what_is_under_way_was_used_as_well_and_makes_it_doubtful(self) -> None:
        """Fifty answers have produced 24,000 tokens each, and fifty more have not told yet what they have."""
        search = self.short_of_output(burst=50)
        for number in range(50):
            search.sent(ONE_REQUEST, ns(16 + number))
        search.corrected(Cost(0, 0, 1_200_000))
        refuse(search, 414)
        assert rate(search, 414) == pytest.approx((1_200_000 + 600_000) / 400 * 0.97, rel=0.01)
