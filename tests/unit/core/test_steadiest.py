"""Which dimension is limited, told by whose figures vary least."""

import pytest

from tidegate.core.steadiest import Steadiest


def test_requests_are_believed_at_first() -> None:
    limited = Steadiest()
    assert limited.add((10.0, 9_000.0, 2_000.0)) == 1
    assert limited.index == 0


def test_they_stay_where_all_figures_are_steady() -> None:
    limited = Steadiest()
    for _ in range(20):
        limited.add((10.0, 9_000.0, 2_000.0))
    assert limited.index == 0


@pytest.mark.parametrize("index", [1, 2])
def test_the_one_whose_figures_stay_is_found(index: int) -> None:
    limited = Steadiest()
    scales = []
    for number in range(12):
        swing = 1.1 if number % 2 else 1.0
        figures = [10.0 * swing, 9_000.0 * swing, 2_000.0 * swing]
        figures[index] = 7_000.0
        scales.append(limited.add(tuple(figures)))
    assert limited.index == index
    assert scales.count(1) == 11
    assert 7_000 / 11 <= max(scales) <= 7_000 / 10


def test_a_little_less_variation_is_no_reason_to_change() -> None:
    limited = Steadiest()
    for number in range(40):
        limited.add((10.0 * (1.10 if number % 2 else 1.0), 9_000.0 * (1.08 if number % 2 else 1.0), 1.0 + number % 2))
    assert limited.index == 0


def test_a_limit_that_halves_changes_nothing() -> None:
    limited = Steadiest()
    for scale in (1.0, 1.0, 0.5, 0.5):
        limited.add((10.0 * scale, 9_000.0 * scale * 1.001, 2_000.0 * scale))
    assert limited.index == 0


@pytest.mark.parametrize("swing", [1.0, 10.0])
def test_a_dimension_that_nobody_uses_is_not_limited(swing: float) -> None:
    limited = Steadiest()
    for number in range(20):
        assert limited.add((10.0 * swing if number % 2 else 10.0, 0.0, 0.0)) == 1
    assert limited.index == 0


def test_nor_is_one_that_is_used_now_and_then() -> None:
    limited = Steadiest()
    for number in range(20):
        limited.add((10.0 + number % 2, 9_000.0 * (number % 2), 2_000.0 * (1 - number % 2)))
    assert limited.index == 0


def test_figures_below_one_a_second_are_figures_like_others() -> None:
    limited = Steadiest()
    for number in range(20):
        limited.add((0.05 * (1 + number % 2), 0.8, 0.2 * (1 + number % 2)))
    assert limited.index == 1


def test_what_was_steady_long_ago_does_not_count_for_ever() -> None:
    limited = Steadiest()
    for number in range(20):
        limited.add((10.0 * (1 + number % 2), 9_000.0, 2_000.0 * (1 + number % 2)))
    assert limited.index == 1
    for number in range(20):
        limited.add((10.0, 9_000.0 * (1 + number % 2), 2_000.0 * (1 + number % 2)))
    assert limited.index == 0


def test_a_measurement_without_the_limited_dimension_changes_nothing() -> None:
    limited = Steadiest()
    for number in range(20):
        limited.add((10.0 * (1 + number % 2), 9_000.0, 2_000.0 * (1 + number % 2)))
    for _ in range(20):
        assert limited.add((10.0, 0.0, 2_000.0)) == 1
    assert limited.index == 1
