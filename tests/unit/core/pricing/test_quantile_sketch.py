"""Mean and quantiles of what values were like lately."""

from random import Random
from statistics import fmean

import pytest

from tidegate.core.pricing.quantile_sketch import QuantileSketch


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


def test_a_few_long_values_among_many_short_ones_hardly_move_the_mean() -> None:
    rng = Random(2)  # noqa: S311 - a test
    sketch, off = QuantileSketch(300.0, 3), []
    for number in range(4_000):
        sketch.add(rng.lognormvariate(5.0, 1.4))
        if number >= 1_000:
            off.append(sketch.mean / 395.4 - 1)  # e^(5 + 1.4² ÷ 2)
    assert sum(each**2 for each in off) / len(off) < 0.2**2, "a quarter off is usual for the mean of the last hundred"


def test_values_that_have_become_others_move_it_as_soon_as_that_is_clear() -> None:
    rng = Random(3)  # noqa: S311 - a test
    sketch = sketch_of([rng.lognormvariate(5.0, 0.6) for _ in range(500)])
    before = sketch.mean
    for _ in range(50):
        sketch.add(3 * rng.lognormvariate(5.0, 0.6))
    assert sketch.mean > 2 * before, "most of the last fifty"


def test_the_least_change_of_values_that_were_all_alike_is_clear() -> None:
    assert sketch_of([300.0] * 100 + [310.0] * 35).mean == pytest.approx(305, abs=0.2)


def test_in_the_end_the_lasting_mean_is_that_of_the_new_values() -> None:
    assert sketch_of([300.0] * 100 + [900.0] * 1_000).mean == pytest.approx(900, rel=0.02)


@pytest.mark.parametrize("seen", [80, 150])
def test_the_mean_is_at_first_that_of_all_values(seen: int) -> None:
    rng = Random(4)  # noqa: S311 - a test
    values = [rng.lognormvariate(5.0, 0.6) for _ in range(seen)]
    assert sketch_of(values).mean == pytest.approx(fmean(values))


def test_from_the_two_hundredth_on_each_weighs_a_two_hundredth() -> None:
    sketch = sketch_of([90.0, 110.0] * 150)
    before = sketch.mean
    sketch.add(110.0)
    assert sketch.mean - before == pytest.approx((110 - before) / 200)


def test_where_they_have_become_others_each_weighs_a_fiftieth() -> None:
    assert sketch_of([300.0] * 80 + [900.0] * 35).mean == pytest.approx(900 - 600 * 0.98**35, rel=1e-3)
