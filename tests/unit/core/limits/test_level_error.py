"""The error of a level: which reading of `remaining` is believed, and the margin that follows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.limits.level_error import LevelError, distance

CAPACITY = 1_000.0
OFF = st.floats(-2_000, 2_000)


@pytest.fixture
def level_error() -> LevelError:
    made = LevelError()
    made.restart(CAPACITY)
    return made


class TestReadings:
    def test_a_level_between_both_is_left_alone(self, level_error: LevelError) -> None:
        assert level_error.observe(-100, 100, CAPACITY) == 0
        assert level_error.observe(0, 100, CAPACITY) == 0

    @pytest.mark.parametrize(("at_answer", "at_admission", "off"), [(300, 320, 300), (-320, -300, -300)])
    def test_outside_of_both_it_is_off_by_the_smaller_step(
        self, level_error: LevelError, at_answer: float, at_admission: float, off: float
    ) -> None:
        assert level_error.observe(at_answer, at_admission, CAPACITY) == off

    def test_figures_of_the_answer_are_believed_when_they_fit_clearly_better(self, level_error: LevelError) -> None:
        for _ in range(10):
            level_error.observe(0, 200, CAPACITY)
        assert level_error.observe(-50, 150, CAPACITY) == -50

    def test_figures_of_the_admission_are_believed_when_they_fit_clearly_better(self, level_error: LevelError) -> None:
        for _ in range(10):
            level_error.observe(-200, 0, CAPACITY)
        assert level_error.observe(-150, 50, CAPACITY) == 50

    def test_a_belief_changes_when_the_other_begins_to_fit(self, level_error: LevelError) -> None:
        for _ in range(10):
            level_error.observe(-200, 0, CAPACITY)
        for _ in range(20):
            level_error.observe(0, 200, CAPACITY)
        assert level_error.observe(-50, 150, CAPACITY) == -50
        for _ in range(20):
            level_error.observe(-200, 0, CAPACITY)
        assert level_error.observe(-150, 50, CAPACITY) == 50

    @pytest.mark.parametrize("readings", [(320, 300), (300, 320)])
    def test_two_that_fit_equally_badly_are_never_told_apart(
        self, level_error: LevelError, readings: tuple[float, float]
    ) -> None:
        assert [level_error.observe(*readings, CAPACITY) for _ in range(30)] == [300] * 30

    @given(st.lists(st.tuples(OFF, OFF), min_size=1, max_size=30))
    def test_never_moves_further_than_a_reading_says(self, readings: list[tuple[float, float]]) -> None:
        level_error = LevelError()
        for at_answer, at_admission in readings:
            assert level_error.observe(at_answer, at_admission, CAPACITY) in {0.0, at_answer, at_admission}


class TestMargin:
    def test_none_before_the_first_report(self) -> None:
        assert LevelError().margin(CAPACITY, 100) == 0

    def test_none_when_another_limit_is_reported(self, level_error: LevelError) -> None:
        level_error.clear()
        assert level_error.margin(CAPACITY, 100) == 0

    def test_begins_with_8_percent_of_the_capacity(self, level_error: LevelError) -> None:
        assert level_error.margin(CAPACITY, 0) == 80
        without_first_report = LevelError()
        without_first_report.observe(40, 40, CAPACITY)
        assert without_first_report.margin(CAPACITY, 0) == 80

    def test_shrinks_to_1_percent_while_the_level_proves_exact(self, level_error: LevelError) -> None:
        margins = []
        for _ in range(50):
            level_error.observe(0, 0, CAPACITY)
            margins.append(level_error.margin(CAPACITY, 0))
        assert margins == sorted(margins, reverse=True)
        assert margins[0] == pytest.approx(72)
        assert margins[-1] == 10

    def test_grows_with_the_error_to_no_more_than_half(self, level_error: LevelError) -> None:
        level_error.observe(-140, -140, CAPACITY)
        assert level_error.margin(CAPACITY, 0) == pytest.approx(100)
        for _ in range(100):
            level_error.observe(-900, -900, CAPACITY)
        assert level_error.margin(CAPACITY, 0) == 500

    def test_is_no_less_than_asked_for(self, level_error: LevelError) -> None:
        assert level_error.margin(CAPACITY, 200) == 200
        assert level_error.margin(CAPACITY, 700) == 500

    def test_a_refusal_that_the_level_did_not_foresee_brings_it_back(self, level_error: LevelError) -> None:
        for _ in range(50):
            level_error.observe(0, 0, CAPACITY)
        level_error.distrust(CAPACITY)
        assert level_error.margin(CAPACITY, 0) == 80

    def test_a_refusal_never_lowers_it(self, level_error: LevelError) -> None:
        for _ in range(5):
            level_error.observe(-500, -500, CAPACITY)
        before = level_error.margin(CAPACITY, 0)
        level_error.distrust(CAPACITY)
        assert level_error.margin(CAPACITY, 0) == before

    def test_a_refusal_before_any_report_of_what_remains(self) -> None:
        level_error = LevelError()
        level_error.distrust(CAPACITY)
        assert level_error.margin(CAPACITY, 0) == 80


@pytest.mark.parametrize(("level", "expected"), [(7.0, -3.0), (10.0, 0.0), (15.0, 0.0), (20.0, 0.0), (24.0, 4.0)])
def test_a_level_is_as_far_from_a_range_as_it_lies_above_or_below(level: float, expected: float) -> None:
    assert distance(level, 10.0, 20.0) == expected
