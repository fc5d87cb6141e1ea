"""What the level of one dimension learns from what remains: the reading of the figures, the margin, and others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.clock import NS_PER_SECOND as S
from tidegate.core.dimension import MICRO, Dimension
from tidegate.core.headers import DimensionReport
from tidegate.core.limit import DimensionLimit
from tidegate.core.store import LimitSettings
from tidegate.core.window import WindowVotes

PER_MINUTE = 6_000  # 100 a second
CAPACITY = 6_000


def report(remaining: int) -> DimensionReport:
    """Of a bucket that holds 6,000: `reset` is rounded up to seconds, by half of one on average."""
    return DimensionReport(PER_MINUTE, remaining, (CAPACITY - remaining) * S // 100 + S // 2)


def begun(remaining: int, dimension: Dimension = Dimension.REQUESTS) -> DimensionLimit:
    """A limit with a first report at 0 s."""
    made = DimensionLimit(dimension, WindowVotes())
    made.learn(report(remaining), sent_ago_ns=0, outstanding=0, now_ns=0)
    return made


def learn(made: DimensionLimit, remaining: int, now_ns: int, sent_ago_ns: int = 0, outstanding: int = 0) -> None:
    made.learn(report(remaining), sent_ago_ns, outstanding, now_ns)


def level(made: DimensionLimit, now_ns: int) -> float:
    return made.snapshot(now_ns).available or 0.0


class TestFirstReport:
    def test_sets_the_level_and_leaves_what_is_outstanding(self) -> None:
        made = DimensionLimit(Dimension.INPUT_TOKENS, WindowVotes())
        learn(made, 3_000, 0, outstanding=500)
        assert level(made, 0) == 2_500

    def test_never_sets_a_debt(self) -> None:
        made = DimensionLimit(Dimension.INPUT_TOKENS, WindowVotes())
        learn(made, 300, 0, outstanding=500)
        assert level(made, 0) == 0

    def test_of_another_limit_goes_by_the_lower_reading(self) -> None:
        made = begun(3_000)
        made.take(1_000, S)
        made.learn(DimensionReport(9_000, 3_000, 40 * S + S // 2), sent_ago_ns=2 * S, outstanding=0, now_ns=2 * S)
        assert level(made, 2 * S) == 2_300, "of the admission: two seconds at 150, and a charge of 1,000"

    def test_without_what_remains_leaves_the_level_to_the_next(self) -> None:
        made = DimensionLimit(Dimension.REQUESTS, WindowVotes())
        assert made.learn(DimensionReport(PER_MINUTE), 0, 0, 0)
        assert level(made, 0) == 100, "a second's worth"
        learn(made, 100, 0)
        assert level(made, 0) == 100


class TestCorrection:
    def test_a_figure_that_fits_as_of_the_admission_moves_nothing(self) -> None:
        made = begun(3_000)
        made.take(400, S)
        learn(made, 3_000, 2 * S, sent_ago_ns=2 * S)
        assert level(made, 2 * S) == 2_800

    def test_a_figure_that_fits_as_of_the_answer_moves_nothing(self) -> None:
        made = begun(3_000)
        made.take(400, S)
        learn(made, 2_800, 2 * S, sent_ago_ns=2 * S)
        assert level(made, 2 * S) == 2_800

    def test_a_level_between_both_readings_is_left_alone(self) -> None:
        made = begun(3_000)
        made.take(400, S)
        learn(made, 2_900, 2 * S, sent_ago_ns=2 * S)
        assert level(made, 2 * S) == 2_800, "2,900 as of the answer, 2,700 as of the admission"

    @pytest.mark.parametrize(("remaining", "corrected"), [(1_000, 2_800 - 0.4 * 1_800), (5_000, 2_800 + 0.4 * 2_000)])
    def test_outside_of_both_it_moves_two_fifths_of_the_smaller_step(self, remaining: int, corrected: float) -> None:
        made = begun(3_000)
        made.take(400, S)
        learn(made, remaining, 2 * S, sent_ago_ns=2 * S)
        assert level(made, 2 * S) == pytest.approx(corrected)

    @pytest.mark.parametrize("of_the_answer", [True, False])
    def test_finds_the_true_level_whichever_moment_figures_belong_to(self, *, of_the_answer: bool) -> None:
        """80 a second, in requests answered after three seconds; at 10 s somebody took 2,000 at once."""
        made, true = begun(5_000), {-1: 4_900.0}
        for second in range(40):
            made.take(80, second * S)
            true[second] = true[second - 1] + 100 - 80 - (2_000 if second == 10 else 0)
            sent = second - 3
            if sent >= 0:
                figure = true[second if of_the_answer else sent]
                learn(made, round(figure), second * S, sent_ago_ns=3 * S)
        assert level(made, 39 * S) == pytest.approx(true[39], abs=81), "to one request"

    def test_what_is_outstanding_may_not_have_been_charged_there_yet(self) -> None:
        made = begun(3_000)
        learn(made, 3_500, 0, outstanding=500)
        assert level(made, 0) == 3_000

    def test_requests_sent_together_may_have_overtaken_each_other(self) -> None:
        made = begun(3_000)
        made.take(50, S)
        made.take(50, S + S // 200)
        for remaining in (3_050, 3_000):
            learn(made, remaining, S + S // 10, sent_ago_ns=S // 10)
        assert level(made, S + S // 10) == 3_010

    def test_token_figures_are_rounded_to_thousands(self) -> None:
        made = begun(3_000, Dimension.INPUT_TOKENS)
        learn(made, 3_500, 0)
        learn(made, 2_500, 0)
        assert level(made, 0) == 3_000
        learn(made, 2_400, 0)
        assert level(made, 0) == pytest.approx(3_000 - 0.4 * 100)

    def test_corrections_of_charges_are_replayed_too(self) -> None:
        made = begun(3_000)
        made.take(400, S)
        made.correct(-300, S)
        learn(made, 3_000, 2 * S, sent_ago_ns=2 * S)
        assert level(made, 2 * S) == 3_100


class TestMargin:
    def test_8_percent_must_stay_after_the_first_report(self) -> None:
        made = begun(3_000)
        assert made.fits(2_520, 0)
        assert not made.fits(2_521, 0)
        assert made.wait_ns(2_620, 0) == S

    def test_shrinks_while_reports_fit(self) -> None:
        made = begun(3_000)
        for _ in range(60):
            learn(made, 3_000, 0)
        assert made.margin_micro == CAPACITY // 100 * MICRO

    def test_returns_with_a_429_that_the_level_did_not_foresee(self) -> None:
        made = begun(3_000)
        for _ in range(60):
            learn(made, 3_000, 0)
        made.overrun(0)
        assert made.margin_micro == 480 * MICRO

    def test_is_no_less_than_one_usual_request(self) -> None:
        made = begun(6_000)
        for second in range(200):
            made.take(1_000, second * 10 * S)
            learn(made, 5_000, second * 10 * S)
        assert made.margin_micro == pytest.approx(1_000 * MICRO, rel=0.01)

    def test_more_than_fits_beside_it_goes_when_the_bucket_is_full(self) -> None:
        assert begun(6_000).fits(6_000, 0)


class TestOthers:
    """Others take 40 of the 100 a second; we take 50, and are answered after half a second."""

    @staticmethod
    def shared(dimension: Dimension = Dimension.REQUESTS, *, others: int = 40, price_error: int = 0) -> DimensionLimit:
        made, true = begun(4_000, dimension), 4_000
        for second in range(1, 15):
            true += 100 - others - 50
            made.take(50, second * S)
            made.priced(50, 50 + price_error)
            learn(made, true, second * S + S // 2, sent_ago_ns=S // 2)
        return made

    @pytest.mark.parametrize("dimension", [Dimension.REQUESTS, Dimension.INPUT_TOKENS])
    def test_are_left_what_they_take(self, dimension: Dimension) -> None:
        state = self.shared(dimension).snapshot(15 * S)
        assert state.effective_per_minute == pytest.approx(3_600, rel=0.02)

    def test_leave_a_share_of_the_rate_or_of_what_is_configured(self) -> None:
        made = self.shared()
        assert made.share == pytest.approx(0.6, rel=0.02)
        made.configure(LimitSettings(4_800, 100), 15 * S)
        assert made.share == pytest.approx(0.75, rel=0.02), "3,600 of 4,800"
        made.configure(LimitSettings(1_200, 100), 15 * S)
        assert made.share == 1

    def test_a_rate_that_is_searched_is_a_share_of_what_was_found_before(self) -> None:
        made = DimensionLimit(Dimension.REQUESTS, WindowVotes())
        made.search(2.0, 0, 0.5)
        assert made.share == 0.5
        made.search(2.0, 0, 0.25)
        assert made.share == 0.25
        made.configure(LimitSettings(160, 100), 0)
        assert made.share == 0.75, "120 of 160"
        made.search(2.0, 0)
        assert made.share == 1

    def test_are_not_seen_where_there_are_none(self) -> None:
        assert self.shared(others=0).snapshot(15 * S).effective_per_minute == PER_MINUTE

    def test_are_not_looked_for_in_output_which_is_charged_as_it_is_produced(self) -> None:
        assert self.shared(Dimension.OUTPUT_TOKENS).snapshot(15 * S).effective_per_minute == PER_MINUTE

    def test_are_not_looked_for_where_our_own_prices_are_far_off(self) -> None:
        assert self.shared(price_error=50).snapshot(15 * S).effective_per_minute == PER_MINUTE

    def test_beside_them_we_go_by_our_share_without_bursts(self) -> None:
        made, now_ns = self.shared(), 15 * S
        assert level(made, now_ns) > 1_000
        made.take(100, now_ns)
        assert not made.fits(50, now_ns)
        assert 0 < made.wait_ns(50, now_ns) < 3 * S

    def test_a_full_bucket_hides_them_and_ends_the_pacing(self) -> None:
        made = self.shared()
        learn(made, 5_990, 15 * S)
        assert made.snapshot(15 * S).effective_per_minute == PER_MINUTE
        made.take(100, 15 * S)
        assert made.fits(50, 15 * S)

    def test_so_does_one_that_was_full_since_the_last_report(self) -> None:
        made = begun(5_850)
        for second in range(2, 30, 2):
            made.take(130, second * S)
            learn(made, 5_870, second * S, sent_ago_ns=0)
        assert made.snapshot(30 * S).effective_per_minute == PER_MINUTE, "70 of 200 were lost, not taken"

    def test_and_one_that_was_emptied_at_the_end_of_that_time(self) -> None:
        made, true = begun(5_000), 5_000
        for second in range(20, 200, 20):
            made.take(2_200, second * S)
            true = min(6_000, true + 2_000) - 2_200
            learn(made, true, second * S, sent_ago_ns=0)
        assert made.snapshot(200 * S).effective_per_minute == PER_MINUTE

    def test_of_the_last_second_before_it_is_full_nobody_knows(self) -> None:
        made = begun(5_890)
        for tick in range(1, 40):
            made.take(5, tick * S // 2)
            learn(made, 5_905, tick * S // 2, sent_ago_ns=0)
        assert made.snapshot(20 * S).effective_per_minute == PER_MINUTE

    def test_a_shallow_bucket_hides_them(self) -> None:
        made = DimensionLimit(Dimension.REQUESTS, WindowVotes())
        for second in range(15):
            made.take(100, second * S)
            made.learn(DimensionReport(PER_MINUTE, 100, 2 * S), 0, 0, second * S)
        assert made.snapshot(15 * S).effective_per_minute == PER_MINUTE

    def test_keep_a_fifth_of_the_rate_for_us_however_much_they_take(self) -> None:
        assert self.shared(others=200).snapshot(15 * S).effective_per_minute == pytest.approx(1_200)

    def test_requests_sent_together_of_which_each_left_less_are_none(self) -> None:
        """Sixty at once, answered one after the other; then two a second. Figures belong to the admission."""
        made, true, answers = begun(5_500), 5_500, list[tuple[int, int, int]]()
        sends = [(S, S // 2 + number * S // 20) for number in range(60)]
        sends += [(S + number * S // 2, 2 * S) for number in range(1, 20)]
        before_ns = 0
        for sent_ns, took_ns in sends:
            true += (sent_ns - before_ns) // (S // 100) - 50
            before_ns = sent_ns
            answers.append((sent_ns + took_ns, sent_ns, true))
        for now_ns, sent_ns, remaining in sorted([*answers, *((sent_ns, sent_ns, -1) for sent_ns, _ in sends)]):
            if remaining < 0:
                made.take(50, now_ns)
            else:
                learn(made, remaining, now_ns, sent_ago_ns=now_ns - sent_ns)
                assert made.snapshot(now_ns).effective_per_minute == PER_MINUTE

    def test_are_forgotten_with_another_limit(self) -> None:
        made = self.shared()
        made.learn(DimensionReport(9_000, 3_000), 0, 0, 15 * S)
        assert made.snapshot(15 * S).effective_per_minute == 9_000

    def test_are_forgotten_with_a_limit_that_is_told_no_more(self) -> None:
        made = self.shared()
        made.forget_told(15 * S)
        made.search(2.0, 15 * S)
        assert (made.snapshot(15 * S).effective_per_minute, made.share) == (120, 1)


STEPS = st.tuples(
    st.integers(0, 3 * S),
    st.integers(0, 500),
    st.none() | st.tuples(st.integers(0, CAPACITY), st.integers(0, 5 * S), st.integers(0, 2_000)),
)


@given(st.sampled_from(Dimension), st.lists(STEPS, max_size=40))
def test_whatever_is_reported_some_rate_is_left_and_the_level_within_its_capacity(
    dimension: Dimension, steps: list[tuple[int, int, tuple[int, int, int] | None]]
) -> None:
    made, now_ns = begun(3_000, dimension), 0
    for pause_ns, units, told in steps:
        now_ns += pause_ns
        made.take(units, now_ns)
        if told is not None:
            remaining, sent_ago_ns, outstanding = told
            learn(made, remaining, now_ns, sent_ago_ns, outstanding)
        state = made.snapshot(now_ns)
        capacity = state.capacity or 0.0
        assert 0 < capacity <= PER_MINUTE
        assert level(made, now_ns) <= capacity
        assert PER_MINUTE / 5 <= (state.effective_per_minute or 0.0) <= PER_MINUTE
        assert made.margin_micro <= capacity / 2 * MICRO + 1
        now_ns += made.wait_ns(100, now_ns)
        assert made.fits(100, now_ns)
