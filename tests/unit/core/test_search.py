"""A rate that nobody tells is found by the 429s alone."""

import pytest

from tidegate.core.clock import NS_PER_SECOND as S
from tidegate.core.search import RateSearch


def answer(search: RateSearch, count: int) -> None:
    for _ in range(count):
        search.accepted()


@pytest.fixture
def measured() -> RateSearch:
    """Refused at 10 s, and at 20 s after 200 more answers: 20 a second were accepted."""
    search = RateSearch(0)
    search.refused(10 * S)
    answer(search, 200)
    search.refused(20 * S)
    return search


class TestGrowth:
    def test_begins_with_two_a_second(self) -> None:
        assert RateSearch(0).per_second(0) == 2

    def test_grows_by_60_percent_a_second_while_somebody_waits(self) -> None:
        search = RateSearch(0)
        assert [search.per_second(second * S) for second in range(4)] == pytest.approx([2, 3.2, 5.12, 8.192])

    def test_does_not_depend_on_how_often_it_is_asked(self) -> None:
        often = RateSearch(0)
        for tenth in range(1, 31):
            often.per_second(tenth * S // 10)
        assert often.per_second(3 * S) == pytest.approx(8.192)

    def test_a_pause_without_demand_is_no_reason_to_grow(self) -> None:
        assert RateSearch(0).per_second(3_600 * S) == pytest.approx(3.2)


class TestMeasuring:
    def test_the_first_429_only_says_that_growth_overshot(self) -> None:
        search = RateSearch(0)
        grown = search.per_second(S)
        search.refused(S)
        assert search.per_second(S) == pytest.approx(grown / 4)
        assert search.per_second(2 * S) == pytest.approx(grown / 4 * 1.6), "it goes on growing"

    def test_two_429s_measure_the_rate(self, measured: RateSearch) -> None:
        assert measured.per_second(20 * S) == pytest.approx(0.97 * 20)

    def test_a_measured_rate_grows_no_more(self, measured: RateSearch) -> None:
        assert measured.per_second(39 * S) == pytest.approx(0.97 * 20)

    def test_a_429_soon_after_another_is_too_little_to_measure(self, measured: RateSearch) -> None:
        answer(measured, 9)
        measured.refused(20 * S + S // 10)
        assert measured.per_second(21 * S) == pytest.approx(0.97**2 * 20)
        answer(measured, 91)
        measured.refused(30 * S)
        assert measured.per_second(30 * S) == pytest.approx(0.97 * 10), "measured from the 429 at 20 s"

    @pytest.mark.parametrize(("answers", "elapsed_ns"), [(10, S), (1, 5 * S)])
    def test_ten_answers_or_five_seconds_are_enough(self, measured: RateSearch, answers: int, elapsed_ns: int) -> None:
        answer(measured, answers)
        measured.refused(20 * S + elapsed_ns)
        assert measured.per_second(20 * S + elapsed_ns) == pytest.approx(0.97 * answers * S / elapsed_ns)

    def test_an_upstream_that_accepts_nothing_is_still_asked_every_20_seconds(self) -> None:
        search = RateSearch(0)
        search.refused(10 * S)
        search.refused(20 * S)
        assert search.per_second(20 * S) == 0.05


class TestTrials:
    def test_a_rate_that_was_measured_well_is_tried_by_4_percent_after_20_s_and_150_answers(
        self, measured: RateSearch
    ) -> None:
        answer(measured, 149)
        assert measured.per_second(60 * S) == pytest.approx(0.97 * 20)
        answer(measured, 1)
        assert measured.per_second(39 * S) == pytest.approx(0.97 * 20)
        assert measured.per_second(40 * S) == pytest.approx(0.97 * 20 * 1.04)

    def test_a_trial_without_a_429_is_followed_by_the_next(self, measured: RateSearch) -> None:
        answer(measured, 150)
        measured.per_second(40 * S)
        answer(measured, 150)
        assert measured.per_second(59 * S) == pytest.approx(0.97 * 20 * 1.04)
        assert measured.per_second(60 * S) == pytest.approx(0.97 * 20 * 1.04**2)

    def test_a_poor_measurement_is_tried_sooner_and_by_more(self) -> None:
        search = RateSearch(0)
        search.refused(0)
        answer(search, 15)
        search.refused(S)
        answer(search, 15)
        assert search.per_second(3 * S - 1) == pytest.approx(0.97 * 15)
        assert search.per_second(3 * S) == pytest.approx(0.97 * 15 * (1 + 0.5 / 15**0.5))


@pytest.mark.parametrize(("rate", "burst"), [(5, 5), (30, 40), (200, 40)])
def test_endless_demand_gets_nine_tenths_of_the_rate_with_few_429s(rate: int, burst: int) -> None:
    """An upstream of that rate and burst; from the second minute to the third, after the search has settled."""
    search, level, now_ns, before_ns = RateSearch(0), float(burst), 0, 0
    is_news, accepted, refused = True, 0, 0
    while now_ns < 180 * S:
        now_ns += round(S / search.per_second(now_ns))
        level, before_ns = min(burst, level + (now_ns - before_ns) / S * rate), now_ns
        if level >= 1:
            level, is_news = level - 1, True
            search.accepted()
            accepted += now_ns >= 60 * S
        else:
            refused += now_ns >= 60 * S
            if is_news:
                search.refused(now_ns)
            is_news = False
    assert accepted / 120 > 0.9 * rate
    assert refused / accepted < 0.04
