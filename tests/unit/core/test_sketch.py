"""Mean and quantiles of what values were like lately."""

from random import Random

import pytest

from tidegate.core.sketch import QuantileSketch


def sketch_of(values: list[float]) -> QuantileSketch:
    sketch = QuantileSketch(1.0, 0)
    for value in values:
        sketch.add(value)
    return sketch


def test_begins_with_the_prior() -> None:
    assert QuantileSketch(700.0, 0).quantile(0.9) == 700
    seen = QuantileSketch(700.0, 3)
    assert seen.mean == 700
    assert seen.quantile(0.9) == pytest.approx(700, rel=0.1)


def test_the_prior_counts_as_often_as_it_says() -> None:
    sketch = QuantileSketch(700.0, 3)
    sketch.add(300.0)
    assert sketch.mean == 600
    sketch.add(300.0)
    assert sketch.quantile(0.5) == pytest.approx(700, rel=0.1), "three times 700, twice 300"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_quantiles_are_off_by_a_tenth_at_most(share: float) -> None:
    values = list(range(100, 300))
    Random(1).shuffle(values)  # noqa: S311 - a test
    sketch = QuantileSketch(1.0, 0)
    for _ in range(30):
        for value in values:
            sketch.add(value)
    assert sketch.quantile(share) == pytest.approx(100 + 200 * share, rel=0.2)


def test_every_value_counts() -> None:
    assert sketch_of([10.0, 100.0, 1_000.0, 10_000.0, 100_000.0]).quantile(0.5) == pytest.approx(1_000, rel=0.1)


def test_a_share_that_is_exactly_reached_is_not_exceeded() -> None:
    sketch = QuantileSketch(100.0, 2)
    sketch.add(1_000.0)
    assert sketch.quantile(2 / 3) == pytest.approx(100, rel=0.1)
    assert sketch.quantile(0.9) == pytest.approx(1_000, rel=0.1)


@pytest.mark.parametrize("seen", [300, 690, 5_000])
def test_half_of_the_weight_is_that_of_the_last_35(seen: int) -> None:
    """However many there were before, and whenever the weights were last scaled down."""
    assert sketch_of([10_000.0] * seen + [100.0] * 33).quantile(0.5) == pytest.approx(10_000, rel=0.1)
    assert sketch_of([10_000.0] * seen + [100.0] * 36).quantile(0.5) == pytest.approx(100, rel=0.1)


def test_forgets() -> None:
    sketch = sketch_of([10_000.0] * 500 + [100.0] * 200)
    assert sketch.mean == pytest.approx(100, rel=2)
    assert sketch.quantile(0.95) == pytest.approx(100, rel=0.1)


def test_stays_bounded_and_exact_over_a_long_time() -> None:
    sketch = sketch_of([float(100 + number % 7) for number in range(10_000)])
    assert sketch.quantile(0.5) == pytest.approx(103, rel=0.1)


def test_answers_are_kept_for_a_few_values() -> None:
    sketch = sketch_of([100.0] * 50)
    before = sketch.quantile(0.99)
    for _ in range(7):
        sketch.add(9_000.0)
    assert sketch.quantile(0.99) == before
    sketch.add(9_000.0)
    assert sketch.quantile(0.99) == pytest.approx(9_000, rel=0.1)


def test_values_below_1_count_as_1() -> None:
    assert sketch_of([0.0] * 10).quantile(0.5) == pytest.approx(1, rel=0.1)
