"""The level of one dimension follows the reported remainder: the reading of the figures, and the margin."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.domain.dimension import MICRO, Dimension
from tidegate.core.domain.limit_report import DimensionReport
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.limits.dimension_limit import DimensionLimit
from tidegate.core.limits.fixed_window import FixedWindowVotes
from unit.core.limits.reported_bucket import CAPACITY, PER_MINUTE, begun, learn, learn_figure, level


class TestFirstReport:
    def test_sets_the_level_and_leaves_what_is_outstanding(self) -> None:
        made = DimensionLimit(Dimension.INPUT_TOKENS, FixedWindowVotes())
        learn(made, 3_000, 0, outstanding=500)
        assert level(made, 0) == 2_500

    def test_never_sets_a_debt(self) -> None:
        made = DimensionLimit(Dimension.INPUT_TOKENS, FixedWindowVotes())
        learn(made, 300, 0, outstanding=500)
        assert level(made, 0) == 0

    def test_of_another_limit_goes_by_the_lower_reading(self) -> None:
        made = begun(3_000)
        made.charge(1_000, S)
        made.observe(DimensionReport(9_000, 3_000, 40 * S + S // 2), sent_ago_ns=2 * S, outstanding=0, now_ns=2 * S)
        assert level(made, 2 * S) == 2_300, "of the admission: two seconds at 150, and a charge of 1,000"

    def test_without_what_remains_leaves_the_level_to_the_next(self) -> None:
        made = DimensionLimit(Dimension.REQUESTS, FixedWindowVotes())
        assert made.observe(DimensionReport(PER_MINUTE), 0, 0, 0)
        assert level(made, 0) == 100, "a second's worth"
        learn(made, 100, 0)
        assert level(made, 0) == 100


class TestCorrection:
    def test_a_figure_that_fits_as_of_the_admission_moves_nothing(self) -> None:
        made = begun(3_000)
        made.charge(400, S)
        learn(made, 3_000, 2 * S, sent_ago_ns=2 * S)
        assert level(made, 2 * S) == 2_800

    def test_a_figure_that_fits_as_of_the_answer_moves_nothing(self) -> None:
        made = begun(3_000)
        made.charge(400, S)
        learn(made, 2_800, 2 * S, sent_ago_ns=2 * S)
        assert level(made, 2 * S) == 2_800

    def test_a_level_between_both_readings_is_left_alone(self) -> None:
        made = begun(3_000)
        made.charge(400, S)
        learn(made, 2_900, 2 * S, sent_ago_ns=2 * S)
        assert level(made, 2 * S) == 2_800, "2,900 as of the answer, 2,700 as of the admission"

    @pytest.mark.parametrize(("remaining", "corrected"), [(1_000, 2_800 - 0.4 * 1_800), (5_000, 2_800 + 0.4 * 2_000)])
    def test_outside_of_both_it_moves_two_fifths_of_the_smaller_step(self, remaining: int, corrected: float) -> None:
        made = begun(3_000)
        made.charge(400, S)
        learn(made, remaining, 2 * S, sent_ago_ns=2 * S)
        assert level(made, 2 * S) == pytest.approx(corrected)

    @pytest.mark.parametrize("of_the_answer", [True, False])
    def test_finds_the_true_level_whichever_moment_figures_belong_to(self, *, of_the_answer: bool) -> None:
        """80 a second, in requests answered after three seconds; at 10 s somebody took 2,000 at once."""
        made, true = begun(5_000), {-1: 4_900.0}
        for second in range(40):
            made.charge(80, second * S)
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
        made.charge(50, S)
        made.charge(50, S + S // 200)
        for remaining in (3_050, 3_000):
            learn(made, remaining, S + S // 10, sent_ago_ns=S // 10)
        assert level(made, S + S // 10) == 3_010

    def test_token_figures_are_rounded_to_thousands(self) -> None:
        made = begun(3_000, Dimension.INPUT_TOKENS)
        learn_figure(made, 3_500, 0)
        learn_figure(made, 2_500, 0)
        assert level(made, 0) == 3_000
        learn_figure(made, 2_400, 0)
        assert level(made, 0) == pytest.approx(3_000 - 0.4 * 100)

    @pytest.mark.parametrize(("full_in_s", "corrected"), [(30, 3_000), (31, 3_000), (33, 2_930), (28, 3_070)])
    def test_the_reset_time_gives_the_level_more_exactly(self, full_in_s: int, corrected: float) -> None:
        made = begun(3_000, Dimension.INPUT_TOKENS)
        made.observe(DimensionReport(PER_MINUTE, 3_000, full_in_s * S), sent_ago_ns=0, outstanding=0, now_ns=0)
        assert level(made, 0) == pytest.approx(corrected, abs=25), "the capacity is learned from the same figures"

    def test_where_both_contradict_each_other_what_remains_is_believed(self) -> None:
        made = begun(3_000, Dimension.INPUT_TOKENS)
        made.observe(DimensionReport(PER_MINUTE, 3_000, 10 * S), sent_ago_ns=0, outstanding=0, now_ns=0)
        assert level(made, 0) == 3_000

    def test_a_debt_reads_zero_and_is_no_reason_to_raise_the_level(self) -> None:
        made = begun(3_000, Dimension.INPUT_TOKENS)
        made.charge(5_000, 0)
        learn_figure(made, 0, 0)
        assert level(made, 0) == -2_000

    def test_but_it_is_one_to_lower_the_level(self) -> None:
        made = begun(3_000, Dimension.INPUT_TOKENS)
        learn_figure(made, 0, 0)
        assert level(made, 0) == 3_000 - 0.4 * 2_500

    def test_how_deep_a_debt_is_follows_from_when_all_is_back(self) -> None:
        made = begun(3_000, Dimension.INPUT_TOKENS)
        made.charge(5_000, 0)
        made.observe(DimensionReport(PER_MINUTE, 0, 90 * S), sent_ago_ns=0, outstanding=0, now_ns=0)
        assert level(made, 0) == -2_000 - 0.4 * 900

    @pytest.mark.parametrize(("remaining", "outstanding"), [(3_400, 0), (2_600, 0), (3_600, 500)])
    def test_figures_are_rounded_where_only_the_reading_at_the_answer_is_possible(
        self, remaining: int, outstanding: int
    ) -> None:
        """Nearly as old as the first, and of the admission it would mean a full bucket: that is out of the question."""
        made = begun(1_000, Dimension.INPUT_TOKENS)
        made.charge(2_000, 0)
        learn_figure(made, remaining, 40 * S, sent_ago_ns=39 * S, outstanding=outstanding)
        assert level(made, 40 * S) == 3_000

    @pytest.mark.parametrize(("remaining", "outstanding"), [(5_400, 0), (4_700, 0), (5_900, 500)])
    def test_and_where_only_the_admission_does(self, remaining: int, outstanding: int) -> None:
        """2,800 were charged after it was sent, of which as of the answer it would show nothing."""
        made = begun(5_100, Dimension.INPUT_TOKENS)
        made.charge(2_800, S)
        learn_figure(made, remaining, 2 * S, sent_ago_ns=2 * S, outstanding=outstanding)
        assert level(made, 2 * S) == 2_500

    def test_after_a_refusal_the_level_goes_down_all_the_way_by_the_lower_reading(self) -> None:
        made = begun(3_000)
        made.overrun(S)
        learn(made, 1_000, 3 * S, sent_ago_ns=3 * S)
        assert level(made, 3 * S) == 3_300 - 0.4 * 2_000, "the request is older than the refusal"
        learn(made, 1_500, 5 * S, sent_ago_ns=2 * S)
        assert level(made, 5 * S) == 1_500
        learn(made, 1_000, 5 * S, sent_ago_ns=2 * S)
        assert level(made, 5 * S) == 1_500 - 0.4 * 300, "that was the last refusal's"

    def test_the_figures_of_the_refusal_itself_are_believed_at_once(self) -> None:
        made = begun(3_000)
        made.overrun(S)
        for remaining in (2_000, 1_000):
            learn(made, remaining, S, sent_ago_ns=S // 20)
            assert level(made, S) == remaining

    def test_after_a_refusal_it_goes_up_as_ever(self) -> None:
        made = begun(3_000)
        made.overrun(S)
        learn(made, 4_000, S, sent_ago_ns=0)
        assert level(made, S) == 3_100 + 0.4 * 900

    def test_corrections_of_charges_are_replayed_too(self) -> None:
        made = begun(3_000)
        made.charge(400, S)
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
            made.charge(1_000, second * 10 * S)
            learn(made, 5_000, second * 10 * S)
        assert made.margin_micro == pytest.approx(1_000 * MICRO)

    def test_counts_what_a_usual_request_may_well_become(self) -> None:
        made = begun(6_000)
        for second in range(200):
            made.charge(400, second * 10 * S, overdraw=600)
            learn(made, 5_600, second * 10 * S)
        assert made.margin_micro == pytest.approx(1_000 * MICRO)

    def test_of_a_small_limit_is_less_than_one_request_before_any_is_sent(self) -> None:
        made = DimensionLimit(Dimension.REQUESTS, FixedWindowVotes())
        made.observe(DimensionReport(6, 6, 0), 0, 0, 0)
        assert made.margin_micro == 480_000

    def test_counts_where_nobody_else_uses_any(self) -> None:
        made = begun(100)
        assert made.wait_ns(10, 0) == pytest.approx((480 + 10 - 100) * S / 100)
        assert made.unshared_wait_ns(10, 0, 0) == pytest.approx(made.wait_ns(10, 0))

    def test_more_than_fits_beside_it_goes_when_the_bucket_is_full(self) -> None:
        assert begun(6_000).fits(6_000, 0)


STEPS = st.tuples(
    st.integers(0, 3 * S),
    st.integers(0, 500),
    st.none() | st.tuples(st.integers(0, CAPACITY), st.integers(0, 5 * S), st.integers(0, 2_000)),
)


@given(st.sampled_from(Dimension), st.lists(STEPS, max_size=40))
def test_for_any_report_the_rate_is_positive_and_the_level_within_its_capacity(
    dimension: Dimension, steps: list[tuple[int, int, tuple[int, int, int] | None]]
) -> None:
    made, now_ns = begun(3_000, dimension), 0
    for pause_ns, units, told in steps:
        now_ns += pause_ns
        made.charge(units, now_ns)
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
