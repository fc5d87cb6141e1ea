"""A rate that nobody tells is found by the 429s alone."""

from collections.abc import Callable

import pytest

from tidegate.core.domain.dimension import ONE_REQUEST, Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.rate_search.rate_search import RateSearch
from tidegate.core.rate_search.search_settings import RateSearchSettings
from unit.core.rate_search.hidden_limit import HiddenLimit
from unit.core.rate_search.search_steps import grown, ns, rate, refuse, send

MIXED = (500, 1_500, 900, 700, 2_000, 400, 1_100, 800)
"""Sizes of prompts, in tokens."""


def input_of(number: int) -> Cost:
    return Cost(1, MIXED[number * number % len(MIXED)], 1)


def phases(number: int) -> Cost:
    """Forty of a size, then forty of another."""
    return Cost(1, MIXED[number // 40 % len(MIXED)], 1)


def scattered(number: int) -> Cost:
    """From 200 to 3,200 tokens, in no order."""
    return Cost(1, int(200 * 2 ** ((number * 2_654_435_761 >> 7) % 1_000 / 250)), 1)


class TestGrowth:
    def test_begins_with_two_requests_a_second(self) -> None:
        assert RateSearch(ns(0)).per_second(ns(0)) == (2, None, None)

    def test_grows_by_60_percent_a_second_while_somebody_waits(self) -> None:
        search, rates = RateSearch(ns(0)), [2.0]
        for second in range(3):
            send(search, 10, from_s=second, to_s=second + 1)
            rates.append(rate(search, second + 1))
        assert rates == pytest.approx([2, 3.2, 5.12, 8.192])

    def test_does_not_depend_on_how_often_it_is_asked(self) -> None:
        often = RateSearch(ns(0))
        for tenth in range(30):
            send(often, 1, from_s=tenth / 10, to_s=(tenth + 1) / 10)
            rate(often, (tenth + 1) / 10)
        assert rate(often, 3) == pytest.approx(8.192)

    def test_a_pause_without_demand_is_no_reason_to_grow(self) -> None:
        search = RateSearch(ns(0))
        send(search, 10, from_s=0, to_s=1)
        assert rate(search, 3_600) == pytest.approx(3.2)

    def test_time_in_which_something_else_held_requests_back_is_no_reason_to_grow(self) -> None:
        search = RateSearch(ns(0))
        assert [rate(search, second) for second in range(10)] == [2] * 10
        send(search, 1, from_s=9, to_s=10)
        rates = [rate(search, second) for second in (10, 11)]
        assert rates == pytest.approx([2 * 1.6**0.5] * 2), "one of two that it lets go in a second, and none since"

    def test_what_is_given_back_was_not_tried(self) -> None:
        search = RateSearch(ns(0))
        send(search, 1, from_s=0, to_s=0)
        search.corrected(Cost(-1), ns(0))
        assert rate(search, 1) == 2

    def test_what_was_sent_before_the_search_began_was_never_counted(self) -> None:
        search = RateSearch(ns(-2), counted_ns=ns(0))
        send(search, 1, from_s=0, to_s=0.5)
        search.corrected(Cost(-40), ns(-1))
        for _ in range(40):
            search.ended()
        assert rate(search, 1) == pytest.approx(2 * 1.6**0.5)

    def test_a_rate_that_few_requests_use_grows_no_further_than_a_bound(self) -> None:
        """Three requests in 21 seconds for seven hours, none of which is refused."""
        search = grown()
        for number in range(1_200):
            at_s = 1_000 + 21 * number
            refuse(search, at_s) if number == 1 else send(search, 3, from_s=at_s, to_s=at_s)
            assert 0 < rate(search, at_s + 20) <= 1e6

    def test_the_first_429_only_says_that_it_overshot(self) -> None:
        search = RateSearch(ns(0))
        before = rate(search, 1)
        refuse(search, 1)
        assert rate(search, 1) == pytest.approx(before / 4)
        assert not search.is_measured

    def test_then_it_goes_on_by_no_more_than_15_percent_for_each_request_that_is_let_in(self) -> None:
        search = RateSearch(ns(0))
        refuse(search, 1)
        assert rate(search, 12) == 0.5, "none was"
        send(search, 1, from_s=12, to_s=12)
        assert rate(search, 12) == pytest.approx(0.5 * 1.15)
        send(search, 2, from_s=12, to_s=13)
        assert rate(search, 13) == pytest.approx(0.5 * 1.15**3)
        send(search, 50, from_s=13, to_s=14)
        assert rate(search, 14) == pytest.approx(0.5 * 1.15**3 * 1.6), "nor by more than before"


class TestLowRates:
    """Who has to wait for long after few requests has a low rate."""

    def test_what_the_last_request_took_is_there_again_when_the_wait_ends(self) -> None:
        search = RateSearch(ns(0))
        send(search, 1, from_s=0, to_s=0.5)
        refuse(search, 1, retry_after_s=12)
        assert rate(search, 13) == pytest.approx(1 / 12.5)
        assert search.is_measured
        assert not search.is_sure, "it was only guessed"

    def test_a_guessed_rate_is_never_above_the_rate_that_the_429_cut(self) -> None:
        search = RateSearch(ns(0))
        send(search, 1, from_s=0, to_s=0.5)
        refuse(search, 0.6, retry_after_s=2)
        assert rate(search, 0.6) == pytest.approx(1 / 2.1)
        slow = RateSearch(ns(0), 0.2)
        refuse(slow, 1, retry_after_s=3)
        assert rate(slow, 1) == pytest.approx(0.05)

    def test_a_second_of_wait_may_be_next_to_nothing(self) -> None:
        search = RateSearch(ns(0))
        send(search, 1, from_s=0, to_s=0.1)
        refuse(search, 0.2, retry_after_s=1)
        assert not search.is_measured

    def test_after_so_many_that_the_bucket_would_be_worth_hours_it_is_not_requests_that_are_short(self) -> None:
        search = RateSearch(ns(0))
        send(search, 600, from_s=0, to_s=20)
        refuse(search, 20, retry_after_s=40)
        assert not search.is_measured

    def test_an_upper_bound_ends_once_the_upstream_has_admitted_as_much(self) -> None:
        search = RateSearch(ns(0))
        send(search, 1, from_s=0, to_s=0.5)
        refuse(search, 1, retry_after_s=12)
        before = rate(search, 13)
        send(search, 4, from_s=13, to_s=20)
        assert rate(search, 20) == pytest.approx(1.5 * before), "three in 5 s, where one in 12 had been too much"

    def test_a_guess_that_was_too_low_is_found_out(self) -> None:
        search = RateSearch(ns(0))
        send(search, 1, from_s=0, to_s=0.5)
        refuse(search, 1, retry_after_s=12)
        at_s, rates = 13.0, []
        for _ in range(40):
            rates.append(rate(search, at_s))
            send(search, 4, from_s=at_s, to_s=at_s + 4 / rates[-1])
            at_s += 4 / rates[-1]
        assert rates[-1] > 5 * rates[0]


@pytest.mark.parametrize("told", [True, False], ids=["told", "silent"])
@pytest.mark.parametrize(
    ("per_second", "seconds_worth", "most_refusals"),
    [(10, 15, 5), (10, 1, 6), (1, 1, 3), (1, 15, 4), (100, 60, 5), (50, 1, 6), (3, 1, 6)],
)
def test_the_whole_quota_is_used_with_few_429s(
    per_second: float, seconds_worth: float, most_refusals: int, *, told: bool
) -> None:
    until_s = 180 if per_second > 1 else 480
    upstream = HiddenLimit(per_second, per_second * seconds_worth, told=told).play(until_s)
    assert upstream.share(60, until_s) >= 0.98
    assert upstream.refusals(60, until_s) <= most_refusals
    assert upstream.refusals(0, 60) <= 10


def test_five_requests_a_minute_are_found_with_three_429s_in_half_an_hour() -> None:
    upstream = HiddenLimit(5 / 60, 1).play(1_800)
    assert upstream.share(60, 1_800) >= 0.98
    assert len(upstream.refused_s) <= 3


@pytest.mark.parametrize("pause_s", [1.5, 2.0, 2.5])
@pytest.mark.parametrize(("per_second", "seconds_worth"), [(2.5, 1), (5.3, 1.5), (8, 2), (11, 1)])
def test_trials_that_are_refused_and_show_nothing_new_come_less_often(
    per_second: float, seconds_worth: float, pause_s: float
) -> None:
    """Where a pause takes longer than the bucket lasts, each of them is a loss, and measures nothing well."""
    upstream = HiddenLimit(per_second, per_second * seconds_worth, told=False, pause_s=pause_s).play(300)
    assert upstream.refusals(60, 300) <= 12, "of fifty that came every five seconds"
    assert upstream.share(60, 300) >= 0.93


def test_they_come_often_again_once_the_limit_has_risen() -> None:
    upstream = HiddenLimit(8, 12, told=False, pause_s=2.5).play(300)
    upstream.per_second = 24
    upstream.play(480)
    assert upstream.share(360, 480) >= 0.87, "from 8 a second"
    assert upstream.refusals(300, 480) <= 12


class TestChanges:
    def test_a_limit_that_halves_is_found_within_ten_seconds(self) -> None:
        upstream = HiddenLimit(10, 150).play(100)
        upstream.per_second = 5
        upstream.capacity = 75
        upstream.play(160)
        assert upstream.refusals(100, 110) <= 4
        assert upstream.refusals(110, 160) <= 3
        assert upstream.rate() == pytest.approx(5, rel=0.05)

    def test_one_that_doubles_within_half_a_minute_and_what_was_missed_is_used(self) -> None:
        upstream = HiddenLimit(10, 150).play(100)
        upstream.per_second = 20
        upstream.play(200)
        assert upstream.share(100, 200) >= 0.94
        assert upstream.refusals(100, 200) <= 8
        assert upstream.rate() == pytest.approx(20, rel=0.06)

    def test_one_that_falls_where_any_excess_is_refused_at_once(self) -> None:
        upstream = HiddenLimit(1, 1).play(100)
        upstream.per_second = 0.5
        upstream.play(400)
        assert upstream.share(150, 400) >= 0.95
        assert upstream.refusals(100, 150) <= 6
        assert upstream.refusals(150, 400) <= 4

    def test_one_that_rises_there(self) -> None:
        upstream = HiddenLimit(1, 1).play(100)
        upstream.per_second = 3
        upstream.capacity = 3
        upstream.play(700)
        assert upstream.share(600, 700) >= 0.95

    def test_a_rate_that_fell_is_a_share_of_what_it_was_until_it_has_stayed(self) -> None:
        upstream = HiddenLimit(10, 150)
        assert upstream.search.share == 1
        upstream.play(100)
        assert upstream.search.share > 0.9
        upstream.per_second = 3
        upstream.play(130)
        assert 0.2 < upstream.search.share < 0.6
        upstream.play(900)
        assert upstream.search.share > 0.9

    def test_a_rate_that_fell_is_tried_sooner_for_it_may_well_rise_again(self) -> None:
        upstream = HiddenLimit(10, 150).play(100)
        upstream.per_second = 3
        upstream.play(150)
        upstream.per_second = 10
        upstream.play(220)
        assert upstream.share(200, 220) >= 0.95


class TestMeasuring:
    def test_a_429_when_nothing_has_gone_since_the_last_is_the_doing_of_others(self) -> None:
        upstream = HiddenLimit(10, 150).play(100)
        refuse(upstream.search, 100.1)
        before = upstream.search.per_second(ns(101))
        refuse(upstream.search, 110)
        assert upstream.search.per_second(ns(110)) == before

    def test_a_clock_that_goes_back_begins_again(self) -> None:
        upstream = HiddenLimit(10, 150).play(100)
        before = upstream.search.per_second(ns(100))
        upstream.search.sent(ONE_REQUEST, ns(100))
        refuse(upstream.search, 50)
        assert upstream.search.per_second(ns(100)) == before

    def test_what_others_of_a_volley_give_back_was_not_used(self) -> None:
        rates = []
        for volley in (0, 3):
            search = grown()
            send(search, 400, from_s=11, to_s=30)
            send(search, volley, from_s=30, to_s=30)
            refuse(search, 30)
            for _ in range(volley):
                search.corrected(Cost(-1), ns(30))
            send(search, 200, from_s=31, to_s=50)
            refuse(search, 50)
            rates.append(rate(search, 50))
        assert rates[0] == pytest.approx(rates[1], rel=0.01)

    @pytest.mark.parametrize("given_back", [1, 10, 250])
    def test_requests_that_turn_out_to_have_used_nothing_were_not_used_before_the_429_either(
        self, given_back: int
    ) -> None:
        """Sent before a 429 and answered with 400 after it. They may be more than were sent between the two."""
        search = grown()
        send(search, 400, from_s=11, to_s=29)
        send(search, given_back, from_s=29, to_s=29)
        refuse(search, 30)
        send(search, 200, from_s=31, to_s=49)
        for _ in range(given_back):
            search.corrected(Cost(-1), ns(29))
        refuse(search, 50)
        assert 200 / 21 <= rate(search, 50) <= 400 / 19 * 1.04

    def test_no_429_cuts_to_much_less_than_a_quarter(self) -> None:
        search = grown()
        before = rate(search, 10)
        send(search, 1, from_s=10, to_s=30)
        refuse(search, 30)
        assert rate(search, 30) >= before / 4
        assert not search.is_sure

    def test_an_upstream_that_accepts_nothing_is_still_asked_every_20_seconds(self) -> None:
        search = RateSearch(ns(0))
        for number in range(40):
            send(search, 1, from_s=100 * number, to_s=100 * number)
            refuse(search, 1 + 100 * number)
        assert rate(search, 4_000) >= 0.05

    def test_it_is_not_sure_before_it_has_measured_well(self) -> None:
        assert not grown().is_sure
        assert HiddenLimit(10, 150).play(100).search.is_sure

    def test_twelve_429s_are_remembered_also_when_some_are_recounted(self) -> None:
        search = RateSearch(ns(0))
        for number in range(20):
            send(search, 10, from_s=10 * number, to_s=10 * number + 5)
            refuse(search, 10 * number + 5)
            search.corrected(Cost(-1), ns(10 * number))
        assert len(search.dump(ns(200)).hits) == 12

    def test_a_restored_search_has_no_requests_in_flight_and_the_settings_that_it_is_given(self) -> None:
        state = grown().dump(ns(10))
        slow = RateSearchSettings(every_seconds=60)
        restored = RateSearch.restore(state, ns(10), settings=slow)
        assert restored.use.in_flight == 0
        assert restored._settings is restored._trials._settings is slow


class TestDimension:
    @pytest.mark.parametrize("seconds_worth", [1, 15])
    def test_input_that_is_limited_is_used_up(self, seconds_worth: int) -> None:
        upstream = HiddenLimit(10_000, 10_000 * seconds_worth, dimension=1, size=input_of).play(300)
        assert upstream.share(60, 300) >= 0.98
        assert len(upstream.refused_s) <= 20

    def test_the_one_whose_figures_stay_is_found_and_searched_at_its_own_rate(self) -> None:
        search = grown()
        at_s = 11.0
        for count, size in ((100, 900), (180, 500), (120, 750), (150, 600), (110, 818), (160, 562)):
            send(search, count, from_s=at_s, to_s=at_s + 19, cost=Cost(1, size))
            at_s += 20
            refuse(search, at_s - 1)
        (found,) = (each for each in enumerate(search.per_second(ns(at_s))) if each[1] is not None)
        assert found[0] == 1
        assert found[1] == pytest.approx(4_500, rel=0.1)

    def test_requests_that_are_limited_are_not_taken_for_tokens_where_pauses_lose_what_comes_back(self) -> None:
        upstream = HiddenLimit(2, 4, told=False, pause_s=2.5, size=input_of).play(300)
        assert upstream.share(60, 300) >= 0.87
        assert len(upstream.refused_s) <= 15, "of fifty by the wrong figures"

    @pytest.mark.parametrize(
        ("per_second", "seconds_worth", "pause_s", "size", "least"),
        [(10, 1, 1.0, phases, 0.95), (2, 2, 2.5, scattered, 0.89)],
        ids=["phases", "scattered"],
    )
    def test_input_that_is_limited_is_not_taken_for_requests(
        self, per_second: int, seconds_worth: int, pause_s: float, size: Callable[[int], Cost], least: float
    ) -> None:
        per_second *= 800
        capacity = per_second * seconds_worth
        upstream = HiddenLimit(per_second, capacity, dimension=1, told=False, pause_s=pause_s, size=size).play(300)
        assert upstream.dimension() == 1
        assert upstream.share(60, 300) >= least

    @pytest.mark.parametrize(("counts", "every_s"), [((4, 8), 20), ((40, 80), 5)], ids=["few requests", "a short time"])
    def test_too_little_tells_nothing(self, counts: tuple[int, int], every_s: int) -> None:
        search = grown()
        for number in range(12):
            count, at_s = counts[number % 2], 10 + every_s * number
            send(search, count, from_s=at_s + 1, to_s=at_s + every_s - 1, cost=Cost(1, 20_000 // count))
            refuse(search, at_s + every_s)
        assert search.per_second(ns(10_000))[0] is not None


class TestOutput:
    def short_of_output(self, produced: int = 4_000) -> RateSearch:
        """Refused at 10 s, and again at 11 s though nothing else had been sent, for what came meanwhile."""
        search = grown()
        search.corrected(Cost(0, 0, 10_000))
        refuse(search, 10.5)
        search.corrected(Cost(0, 0, produced))
        refuse(search, 11, retry_after_s=4)
        return search

    def test_is_what_is_short_if_nothing_was_sent_and_the_wait_goes_on(self) -> None:
        found = self.short_of_output().per_second(ns(11))
        assert found[:2] == (None, None)
        assert found[2] == pytest.approx(4_000 / 3.5, rel=0.25)

    def test_is_not_where_hardly_any_came(self) -> None:
        search = grown()
        refuse(search, 11, retry_after_s=4)
        assert search.per_second(ns(11))[0] is not None

    def test_that_is_still_to_come_is_paid_off_before_the_next_request(self) -> None:
        """Of 500 answers, 10,000 tokens in all, 60 have not ended: half of what they are worth is still to come."""
        search = self.short_of_output()
        for number in range(60):
            search.sent(ONE_REQUEST, ns(16 + number))
        search.corrected(Cost(0, 0, 40_000))
        refuse(search, 80)
        per_second = search.per_second(ns(80))[2] or 0.0
        half = 60 * 54_000 / 500 / 2
        assert search.wait_ns(ns(81)) == pytest.approx((half + 1) / per_second * S, rel=0.01)
        assert search.wait_ns(ns(150)) == 0

    def test_is_no_matter_where_requests_are_limited(self) -> None:
        search = grown()
        search.corrected(Cost(0, 0, 10**6))
        assert search.wait_ns(ns(40)) == 0

    def test_a_rate_of_output_stays_below_what_was_measured(self) -> None:
        upstream = HiddenLimit(1_000, 15_000, dimension=2, size=lambda n: Cost(1, 1, MIXED[n * 5 % 8] // 4)).play(400)
        assert upstream.share(100, 400) >= 0.97
        assert upstream.refusals(100, 400) <= 20

    def test_a_trial_waits_until_what_was_in_flight_has_ended_twice(self) -> None:
        search = self.short_of_output()
        for number in range(500):
            search.sent(ONE_REQUEST, ns(12) + number)
        refuse(search, 13)
        before = search.per_second(ns(14))
        for number in range(200):
            search.sent(ONE_REQUEST, ns(20) + number)
        assert search.per_second(ns(60)) == before, "five hundred were in flight"
        for _ in range(599):
            search.ended()
        assert search.per_second(ns(60)) == before, "101 are, and 200 have been sent"
        search.ended()
        assert search.per_second(ns(60)) != before
