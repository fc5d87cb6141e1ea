"""A rate that nobody tells is found by the 429s alone."""

import pytest

from tidegate.core.clock import NS_PER_SECOND as S
from tidegate.core.dimension import ONE_REQUEST, Cost
from tidegate.core.search import RateSearch


def send(search: RateSearch, count: int, cost: Cost = ONE_REQUEST) -> None:
    for _ in range(count):
        search.sent(cost)


def refuse(search: RateSearch, at_s: float, retry_after_s: int | None = 1, pause_s: float = 1) -> None:
    after_ns = None if retry_after_s is None else retry_after_s * S
    search.refused(round(at_s * S), round(at_s * S), retry_after_ns=after_ns, pause_ns=round(pause_s * S))


def rate(search: RateSearch, at_s: float) -> float:
    (found,) = (each for each in search.per_second(round(at_s * S)) if each is not None)
    return found


def grown(burst: int = 500) -> RateSearch:
    """Refused at 10 s after a burst; far above the rate by then."""
    search = RateSearch(0)
    for second in range(11):
        rate(search, second)
    send(search, burst)
    refuse(search, 10)
    return search


@pytest.fixture
def measured() -> RateSearch:
    """Refused again at 30 s after 400 more: 20 a second were used."""
    search = grown()
    send(search, 400)
    refuse(search, 30)
    return search


class TestGrowth:
    def test_begins_with_two_requests_a_second(self) -> None:
        assert RateSearch(0).per_second(0) == (2, None, None)

    def test_grows_by_60_percent_a_second_while_somebody_waits(self) -> None:
        search = RateSearch(0)
        assert [rate(search, second) for second in range(4)] == pytest.approx([2, 3.2, 5.12, 8.192])

    def test_does_not_depend_on_how_often_it_is_asked(self) -> None:
        often = RateSearch(0)
        for tenth in range(1, 31):
            rate(often, tenth / 10)
        assert rate(often, 3) == pytest.approx(8.192)

    def test_a_pause_without_demand_is_no_reason_to_grow(self) -> None:
        assert rate(RateSearch(0), 3_600) == pytest.approx(3.2)


class TestMeasuring:
    def test_the_first_429_only_says_that_growth_overshot(self) -> None:
        search = RateSearch(0)
        before = rate(search, 1)
        refuse(search, 1)
        assert rate(search, 1) == pytest.approx(before / 4)
        assert rate(search, 2) == pytest.approx(before / 4 * 1.6), "it goes on growing"

    def test_two_429s_measure_the_rate(self, measured: RateSearch) -> None:
        assert rate(measured, 30) == pytest.approx(0.97 * 20 * (1 + 1 / 20)), "which may be off by a second in twenty"

    def test_the_rate_that_met_the_429_is_kept_where_the_measurement_may_be_off_by_that(self) -> None:
        search = grown()
        send(search, 400)
        refuse(search, 30)
        send(search, 200)
        refuse(search, 40)
        assert rate(search, 40) == pytest.approx(0.97 * 0.97 * 21)

    def test_what_comes_back_until_the_wait_ends_counts(self) -> None:
        search = grown()
        send(search, 400)
        refuse(search, 30, retry_after_s=6)
        assert rate(search, 30) == pytest.approx(0.97 * 400 / 25 * (1 + 1 / 25))

    def test_a_measured_rate_grows_no_more(self, measured: RateSearch) -> None:
        assert rate(measured, 45) == rate(measured, 30)

    def test_a_429_soon_after_another_is_measured_from_further_back(self, measured: RateSearch) -> None:
        send(measured, 20)
        refuse(measured, 32)
        assert rate(measured, 32) == pytest.approx(0.97 * 420 / 22 * (1 + 1 / 22)), "from the 429 at 10 s"
        send(measured, 80)
        refuse(measured, 40)
        assert rate(measured, 40) == pytest.approx(0.97 * 100 / 10 * (1 + 1 / 10)), "from that at 30 s"

    def test_a_429_when_nothing_has_gone_since_the_last_is_the_doing_of_others(self, measured: RateSearch) -> None:
        before = rate(measured, 30)
        refuse(measured, 40)
        assert rate(measured, 40) == before

    def test_a_429_before_anything_has_come_back_begins_again(self, measured: RateSearch) -> None:
        before = rate(measured, 30)
        refuse(measured, 31)
        assert rate(measured, 31) == before
        send(measured, 200)
        refuse(measured, 51)
        assert rate(measured, 51) == pytest.approx(0.97 * 10 * (1 + 1 / 20)), "measured from the 429 at 31 s"

    def test_a_clock_that_goes_back_begins_again(self, measured: RateSearch) -> None:
        before = rate(measured, 30)
        send(measured, 100)
        refuse(measured, 29)
        assert rate(measured, 30) == before

    def test_a_measurement_that_is_off_by_a_tenth_is_complete(self) -> None:
        search = grown()
        send(search, 200)
        refuse(search, 20)
        send(search, 100)
        refuse(search, 30)
        assert rate(search, 30) == pytest.approx(0.97 * 10 * 1.1), "measured from the 429 at 20 s"

    def test_two_429s_of_one_moment_are_one(self, measured: RateSearch) -> None:
        before = rate(measured, 30)
        send(measured, 1)
        refuse(measured, 30)
        assert rate(measured, 30) == before

    def test_what_others_of_the_first_volley_give_back_was_not_used(self) -> None:
        search = grown()
        for _ in range(100):
            search.corrected(Cost(-1))
            search.refused_too()
        send(search, 400)
        refuse(search, 30)
        assert rate(search, 30) == pytest.approx(0.97 * 20 * 1.05), "all 400 were used"

    def test_no_429_cuts_to_less_than_a_quarter(self) -> None:
        search = grown()
        before = rate(search, 10)
        send(search, 1)
        refuse(search, 30)
        assert rate(search, 30) == pytest.approx(before / 4)

    def test_who_has_to_wait_for_long_after_few_requests_has_a_low_rate(self) -> None:
        search = RateSearch(0)
        send(search, 1)
        refuse(search, 1, retry_after_s=12)
        assert [rate(search, second) for second in (1, 13, 14, 15)] == pytest.approx([1 / 11] * 4)
        send(search, 1)
        refuse(search, 24, retry_after_s=1)
        assert rate(search, 24) == pytest.approx(0.995 / 12), "such a bucket was full at the beginning"

    def test_but_not_after_so_many_that_the_bucket_would_be_worth_hours(self) -> None:
        search = RateSearch(0)
        send(search, 600)
        refuse(search, 20, retry_after_s=40)
        assert rate(search, 61) == pytest.approx(0.5 * 1.6)

    def test_it_is_not_sure_before_it_has_measured_well(self, measured: RateSearch) -> None:
        assert not grown().is_sure
        assert measured.is_sure

    def test_what_others_of_the_same_volley_give_back_was_not_used(self, measured: RateSearch) -> None:
        for _ in range(3):
            measured.corrected(Cost(-1))
            measured.refused_too()
        send(measured, 200)
        refuse(measured, 50)
        assert rate(measured, 50) == pytest.approx(0.97 * 10 * 1.05), "all 200 were used"

    def test_those_of_a_later_volley_were_sent_after_the_start(self, measured: RateSearch) -> None:
        send(measured, 23)
        refuse(measured, 32)
        for _ in range(3):
            measured.corrected(Cost(-1))
            measured.refused_too()
        send(measured, 80)
        refuse(measured, 40)
        assert rate(measured, 40) == pytest.approx(0.97 * 10 * 1.1), "100 in ten seconds"

    def test_a_volley_at_the_very_beginning_is_no_matter(self) -> None:
        search = RateSearch(0)
        search.refused_too()
        assert rate(search, 0) == 2

    def test_an_upstream_that_accepts_nothing_is_still_asked_every_20_seconds(self) -> None:
        search = RateSearch(0)
        for number in range(20):
            send(search, 1)
            refuse(search, 1 + 100 * number)
        assert rate(search, 2_000) == 0.05


class TestDimension:
    """Which dimension is limited shows in what is used from 429 to 429: here always 20,000 input tokens."""

    @staticmethod
    def alternate(
        counts: tuple[int, int], every_s: int, times: int
    ) -> tuple[RateSearch, list[tuple[float | None, ...]]]:
        search, found = grown(), []
        for number in range(times):
            count = counts[number % 2]
            send(search, count, Cost(1, 20_000 // count, 1_000))
            search.corrected(Cost(0, 0, 900 - 400 * (number % 2)))
            at_s = 10 + every_s * (number + 1)
            refuse(search, at_s)
            found.append(search.per_second(at_s * S))
        return search, found

    def test_the_one_that_is_used_evenly_is_found(self) -> None:
        _, found = self.alternate((10, 20), 10, 12)
        assert [rates[1] is not None for rates in found] == [False] * 2 + [True] * 10
        assert found[-1][1] == pytest.approx(2_000, rel=0.15)

    def test_a_single_request_that_was_refused_makes_it_unsure(self) -> None:
        search, _ = self.alternate((40, 80), 20, 12)
        send(search, 40, Cost(1, 500))
        refuse(search, 270)
        assert rate(search, 270) == pytest.approx(0.97 * 1_000 * (1 - 1 / 20 - 0.25 / 40), rel=0.04)

    @pytest.mark.parametrize(("counts", "every_s"), [((4, 8), 20), ((40, 80), 5)], ids=["few requests", "a short time"])
    def test_too_little_tells_nothing(self, counts: tuple[int, int], every_s: int) -> None:
        _, found = self.alternate(counts, every_s, 12)
        assert all(rates[0] is not None for rates in found)

    def test_output_counts_as_it_comes_and_not_when_sent(self) -> None:
        search = grown()
        for number in range(12):
            count = 20 if number % 2 else 10
            send(search, count, Cost(1, 1_000, 50_000))
            search.corrected(Cost(0, 0, 20))
            refuse(search, 20 + 10 * number)
        (found,) = search.per_second(130 * S)[2:]
        assert found == pytest.approx(2, rel=0.2)


class TestWithoutRetryAfter:
    def test_a_measurement_is_off_by_the_one_request_that_was_refused(self) -> None:
        search = grown()
        send(search, 400)
        refuse(search, 30, None)
        assert rate(search, 30) == pytest.approx(0.995 * 400 / 19 * (1 + 1 / 400))

    def test_and_where_the_bucket_is_shallow_by_what_pauses_lose(self) -> None:
        search = grown(burst=5)
        refuse(search, 10, None, pause_s=2)
        send(search, 200)
        refuse(search, 30, None)
        send(search, 100)
        refuse(search, 40, None)
        assert rate(search, 40) == pytest.approx(0.97 * 10 * (1 + 1 / 10 + 1 / 100), rel=0.01)

    @pytest.mark.parametrize(("burst", "unsure"), [(149, 2 / 20), (151, 0)], ids=["shallow", "deep"])
    @pytest.mark.parametrize("began_s", [0, 1_000])
    def test_a_bucket_is_shallow_that_gave_less_than_15_seconds_in_11(
        self, burst: int, unsure: float, began_s: int
    ) -> None:
        search = RateSearch(began_s * S)
        send(search, burst)
        refuse(search, began_s + 11, None, pause_s=2)
        send(search, 200)
        refuse(search, began_s + 31, None)
        below = 0.97 if unsure else 0.995
        assert rate(search, began_s + 31) == pytest.approx(below * 10 * (1 - unsure - 1 / 200))

    def test_a_trial_that_fails_at_a_shallow_bucket_is_not_trusted_beyond_the_measurement(self) -> None:
        search = grown(burst=3)
        send(search, 400)
        refuse(search, 30, None)
        send(search, 150)
        tried = rate(search, 60)
        refuse(search, 61, None)
        assert rate(search, 61) < tried / 1.04
        assert rate(search, 61) == pytest.approx(150 / 31 * (1 + 1 / 31 + 1 / 150), rel=0.03)


class TestTrials:
    def test_a_good_measurement_is_tried_by_4_percent_after_20_s_and_150_requests(self) -> None:
        search = grown()
        for at_s, count in ((50, 800), (90, 800)):
            send(search, count)
            refuse(search, at_s)
        before = rate(search, 90)
        send(search, 149)
        assert rate(search, 200) == before
        send(search, 1)
        assert rate(search, 109) == before
        assert rate(search, 110) == pytest.approx(before * 1.04)

    def test_after_a_trial_without_a_429_the_next_comes_sooner_and_is_larger(self) -> None:
        search = grown()
        send(search, 800)
        refuse(search, 50)
        for at_s, growth in ((70, 1.04), (80, 1.08), (85, 1.16)):
            before = rate(search, 0)
            send(search, 150)
            assert rate(search, at_s - 0.01) == before
            assert rate(search, at_s) == pytest.approx(before * growth)

    def test_trials_stop_at_some_more_until_a_whole_bucket_has_gone_without_a_429(self) -> None:
        search = grown()  # a burst of 500 in 11 s
        send(search, 800)
        refuse(search, 50)
        base = rate(search, 50)
        for at_s in (70, 80, 85, 88):
            send(search, 150)
            rate(search, at_s)
        assert rate(search, 88) == pytest.approx(1.6 * base)
        send(search, 50)
        assert rate(search, 91) == pytest.approx(1.6 * base)
        send(search, 400)
        assert rate(search, 93) > 1.6 * base, "900 in 23 s: a bucket more than the rate explains"

    def test_a_rate_that_fell_is_tried_sooner(self, measured: RateSearch) -> None:
        send(measured, 200)
        refuse(measured, 50)
        send(measured, 50)
        refuse(measured, 70)
        before = rate(measured, 70)
        send(measured, 50)
        assert rate(measured, 85) == before
        assert rate(measured, 87) > before, "after 50 requests: it was eight times that, and may be so again"

    def poor(self) -> RateSearch:
        """Measured over three seconds."""
        search = grown()
        send(search, 30)
        refuse(search, 13)
        return search

    def test_a_poor_measurement_is_tried_sooner_and_by_more(self) -> None:
        search = self.poor()
        before = rate(search, 13)
        send(search, 3)
        assert rate(search, 14.5) == before
        assert rate(search, 14.7) == pytest.approx(before * 1.5)

    def test_three_requests_at_least_must_have_gone_meanwhile(self) -> None:
        search = self.poor()
        before = rate(search, 13)
        send(search, 2)
        assert rate(search, 20) == before
        send(search, 1)
        assert rate(search, 20) > before

    def test_after_one_that_failed_at_a_shallow_bucket_it_is_half_of_that_until_it_is_next_to_nothing(self) -> None:
        search = grown(burst=3)
        send(search, 20)
        refuse(search, 30)
        send(search, 150)
        before, tried, at_s = rate(search, 30), rate(search, 60), 60
        for _ in range(6):
            refuse(search, at_s + 1)
            assert rate(search, at_s + 1) == pytest.approx(before, rel=0.05)
            before, at_s = rate(search, at_s + 1), at_s + 60
            send(search, 150)
            step, tried = tried / before - 1, rate(search, at_s)
            assert tried / before - 1 == pytest.approx(step / 2 if step / 2 >= 0.02 else 0.04, rel=0.5)

    def test_one_that_fails_at_a_shallow_bucket_goes_back_to_what_was_fine(self) -> None:
        search = grown(burst=3)
        send(search, 20)
        refuse(search, 30)
        send(search, 150)
        before = rate(search, 30)
        tried = rate(search, 60)
        assert tried > before
        refuse(search, 90)
        assert rate(search, 90) == pytest.approx(max(before, 0.97 * 150 / 60 * (1 - 1 / 60)))

    def test_after_a_large_one_that_failed_at_a_shallow_bucket_half_of_it_is_tried(self) -> None:
        search = grown(burst=3)
        send(search, 400)
        refuse(search, 30)
        before = rate(search, 30)
        for at_s, growth in ((46, 1.05), (54, 1.1), (58, 1.2), (60, 1.4)):
            before = rate(search, 30)
            send(search, 150)
            assert rate(search, at_s) == pytest.approx(before * growth)
        refuse(search, 300)
        assert rate(search, 300) == before
        send(search, 300)
        assert rate(search, 303.9) == before
        assert rate(search, 304.01) == pytest.approx(before * 1.2)


class TestOutput:
    def short_of_output(self, produced: int = 4_000) -> RateSearch:
        """Refused at 10 s, and again at 11 s though nothing else had been sent, for what came meanwhile."""
        search = grown()
        search.corrected(Cost(0, 0, 10_000))
        search.corrected(Cost(0, 0, produced))
        refuse(search, 11, retry_after_s=4)
        return search

    def test_is_what_is_short_if_nothing_was_sent_and_the_wait_goes_on(self) -> None:
        found = self.short_of_output().per_second(11 * S)
        assert found[:2] == (None, None)
        assert found[2] == pytest.approx(0.97 * 14_000 / 4)

    def test_is_not_where_hardly_any_came(self) -> None:
        search = grown()
        refuse(search, 11, retry_after_s=4)
        assert search.per_second(11 * S)[0] is not None

    def test_that_comes_after_a_429_is_paid_off_before_the_next_request(self) -> None:
        search = self.short_of_output()
        per_second = search.per_second(11 * S)[2] or 0.0
        search.corrected(Cost(0, 0, 3_000))
        assert search.wait_ns(15 * S) == pytest.approx(3_001 / per_second * S, rel=1e-6)
        assert search.wait_ns(15 * S) == search.wait_ns(14 * S), "until then the upstream itself says how long"
        assert search.wait_ns(25 * S) == 0
        search.corrected(Cost(0, 0, 30_000))
        assert search.wait_ns(25 * S) == 0, "from here on it goes by the rate"

    def test_a_debt_is_believed_for_a_minute_at_most(self) -> None:
        search = self.short_of_output()
        search.corrected(Cost(0, 0, 10**9))
        assert search.wait_ns(15 * S) == 60 * S

    def test_is_no_matter_where_requests_are_limited(self, measured: RateSearch) -> None:
        measured.corrected(Cost(0, 0, 10**6))
        assert measured.wait_ns(40 * S) == 0

    def test_a_trial_waits_until_what_was_in_flight_has_ended_twice(self) -> None:
        search = self.short_of_output()
        before = search.per_second(11 * S)
        send(search, 20)
        assert search.per_second(60 * S) == before, "five hundred were in flight"
        for _ in range(515):
            search.ended()
        assert search.per_second(60 * S) != before

    def test_a_trial_that_fails_goes_back_to_what_was_measured(self) -> None:
        search = RateSearch(0)
        send(search, 5)
        search.corrected(Cost(0, 0, 500))
        refuse(search, 10)
        search.corrected(Cost(0, 0, 3_000))
        refuse(search, 11, retry_after_s=4)
        measured = search.per_second(15 * S)[2] or 0.0
        for _ in range(5):
            search.ended()
        for at_s in (60, 70):
            send(search, 4)
            for _ in range(4):
                search.ended()
            search.per_second(at_s * S)
        search.corrected(Cost(0, 0, 5_000))
        refuse(search, 71)
        assert search.per_second(71 * S)[2] == pytest.approx(measured)


def test_the_dimension_whose_figures_are_steadier_is_searched_at_its_own_rate() -> None:
    search = grown()
    at_s = 11.0
    for count, size in ((100, 900), (180, 500), (120, 750), (150, 600), (110, 818), (160, 562)):
        send(search, count, Cost(1, size))
        at_s += 20
        refuse(search, at_s - 1)
    (found,) = (each for each in enumerate(search.per_second(round(at_s * S))) if each[1] is not None)
    assert found[0] == 1
    assert found[1] == pytest.approx(4_500, rel=0.1)
