"""The limiting dimension is the one whose rates miss the moment of the 429 by least."""

import pytest

from tidegate.core.rate_search.limiting_dimension import LimitingDimension


def test_requests_are_believed_at_first() -> None:
    limited = LimitingDimension()
    limited.observe((10.0, 9_000.0, 2_000.0), 20)
    assert limited.index == 0


def test_they_stay_where_all_figures_are_steady() -> None:
    limited = LimitingDimension()
    for _ in range(3):
        limited.observe((10.0, 9_000.0, 2_000.0), 20)
    assert limited.index == 0


@pytest.mark.parametrize("index", [1, 2])
def test_the_one_whose_figures_stay_is_found(index: int) -> None:
    limited = LimitingDimension()
    for number in range(12):
        swing = 1.1 if number % 2 else 1.0
        figures = [10.0 * swing, 9_000.0 * swing, 2_000.0 * swing]
        figures[index] = 7_000.0
        limited.observe(tuple(figures), 20)
    assert limited.index == index


@pytest.mark.parametrize(("seconds", "index"), [(5, 0), (100, 1)])
def test_errors_are_measured_in_seconds_and_not_in_shares(seconds: float, index: int) -> None:
    """2 % of 5 s is less than rounding explains, of 100 s it is not."""
    limited = LimitingDimension()
    limited.observe((10.0, 9_000.0, 2_000.0), seconds)
    limited.observe((10.2, 9_000.0, 2_100.0), seconds)
    assert limited.index == index


@pytest.mark.parametrize("swing", [0.1, 0.02])
def test_a_little_less_variation_is_no_reason_to_change(swing: float) -> None:
    limited = LimitingDimension()
    for number in range(40):
        odd = number % 2
        limited.observe((10.0 * (1 + odd * swing), 9_000.0 * (1 + odd * 0.8 * swing), 1.0 + odd), 20)
    assert limited.index == 0


def test_output_has_to_be_clearly_steadier_than_input_too() -> None:
    """The limit is 10,000 tokens of input a second. By chance the output of ten varies a little less."""
    limited = LimitingDimension()
    for figures, seconds in (
        ((10.5, 9_202.0, 1_874.4), 5.0),
        ((10.6, 9_463.3, 1_879.2), 7.8),
        ((10.6, 9_630.8, 2_002.8), 12.4),
        ((10.9, 9_800.5, 1_978.7), 14.1),
        ((10.7, 9_702.7, 1_966.4), 11.8),
        ((11.2, 9_922.5, 1_987.5), 26.9),
    ):
        limited.observe(figures, seconds)
    assert limited.index == 0, "and not 2"


def test_a_limit_that_halves_changes_nothing() -> None:
    limited = LimitingDimension()
    for scale in (1.0, 1.0, 0.5, 0.5):
        limited.observe((10.0 * scale, 9_000.0 * scale * 1.001, 2_000.0), 20)
    assert limited.index == 0


@pytest.mark.parametrize(("together", "index"), [(True, 0), (False, 2)])
def test_figures_that_move_together_tell_that_the_limit_has_changed_and_not_in_which_dimension(
    *, together: bool, index: int
) -> None:
    """By 20, 22 and 8 % of 14 seconds each: a competitor comes bit by bit. Or output does not move with them."""
    limited = LimitingDimension()
    figures: tuple[float, ...] = (10.0, 9_000.0, 2_000.0)
    for _ in range(5):
        changes = (0.8, 0.78, 0.92 if together else 1.001)
        figures = tuple(figure * change for figure, change in zip(figures, changes, strict=True))
        limited.observe(figures, 14)
    assert limited.index == index


@pytest.mark.parametrize(
    ("changes", "index"),
    [((0.78, 0.92, 0.0), 0), ((1.25, 0.8, 0.92), 2)],
    ids=["two of them, where the third is not used", "not all in one direction"],
)
def test_figures_move_together_if_all_that_are_used_move_in_one_direction(
    changes: tuple[float, ...], index: int
) -> None:
    limited = LimitingDimension()
    figures: tuple[float, ...] = (10.0, 9_000.0, 2_000.0)
    for _ in range(6):
        figures = tuple(figure * change for figure, change in zip(figures, changes, strict=True))
        limited.observe(figures, 14)
    assert limited.index == index


def test_a_dimension_of_which_nothing_was_used_is_not_limited() -> None:
    limited = LimitingDimension()
    limited.observe((0.0, 0.0, 900.0), 4)
    assert limited.index == 2


def test_nothing_that_was_used_is_no_rate_to_go_by_however_much_others_vary() -> None:
    limited = LimitingDimension()
    for number in range(12):
        swing = 10.0 if number % 2 else 1.0
        limited.observe((10.0 * swing, 9_000.0 / swing, 0.0), 1)
    assert limited.index == 0


def test_one_that_was_not_used_before_tells_nothing_and_the_others_do() -> None:
    limited = LimitingDimension()
    limited.observe((10.0, 0.0, 2_000.0), 20)
    limited.observe((10.6, 9_000.0, 2_000.0), 20)
    assert limited.index == 2


def test_it_is_clear_once_two_measurements_have_shown_that_it_is_this_one() -> None:
    limited = LimitingDimension()
    assert not limited.is_clear
    limited.observe((10.0, 9_000.0, 2_000.0), 20)
    assert not limited.is_clear, "there was nothing to compare it with"
    limited.observe((10.0, 10_000.0, 2_200.0), 20)
    assert limited.is_clear


def test_another_than_requests_is_clear() -> None:
    limited = LimitingDimension()
    limited.observe((0.0, 0.0, 900.0), 4)
    assert limited.is_clear


def test_it_is_not_where_all_figures_are_steady() -> None:
    limited = LimitingDimension()
    for number in range(12):
        limited.observe((10.0 + number % 2, 9_000.0 + 900 * (number % 2), 2_000.0 + 200 * (number % 2)), 20)
    assert not limited.is_clear
