"""The mean of the latest values, and what few of them exceed."""

from random import Random
from statistics import fmean

import pytest

from tidegate.core.pricing.running_mean import RunningMean


def mean_of(values: list[float]) -> RunningMean:
    running = RunningMean(1.0, 0)
    for value in values:
        running.observe(value)
    return running


def test_starts_with_the_prior() -> None:
    running = RunningMean(700.0, 3)
    assert (running.mean, running.high) == (700, 700)
    running.observe(300.0)
    assert running.mean == 600, "three times 700, and 300"
    assert running.high == pytest.approx(600 + 1.5 * 30_000**0.5), "their variance is 30,000"


@pytest.mark.parametrize("sigma", [0.4, 0.6, 1.0, 1.4])
def test_nine_of_ten_lognormal_values_are_below_the_high_one(sigma: float) -> None:
    rng = Random(5)  # noqa: S311 - a test
    running, below, count = RunningMean(100.0, 3), 0, 4_000
    for _ in range(count):
        value = rng.lognormvariate(5.0, sigma)
        below += value <= running.high
        running.observe(value)
    assert 0.91 * count < below < 0.98 * count


def test_the_high_value_is_one_and_a_half_standard_deviations_above_the_mean() -> None:
    assert mean_of([100.0, 200.0]).high == 225


def test_of_many_values_each_weighs_a_fiftieth_in_it() -> None:
    assert mean_of([100.0] * 60 + [200.0]).high == pytest.approx(102 + 1.5 * 14), "a variance of 0.02 × 100 × 98"


def test_values_that_are_all_alike_leave_nothing_above_the_mean() -> None:
    assert mean_of([300.0] * 50).high == 300


def test_the_high_value_follows_values_that_have_changed() -> None:
    assert mean_of([10_000.0] * 500 + [100.0] * 3_000).high == pytest.approx(100, rel=0.2)


def test_a_few_long_values_among_many_short_ones_hardly_move_the_mean() -> None:
    rng = Random(2)  # noqa: S311 - a test
    running, off = RunningMean(300.0, 3), []
    for number in range(4_000):
        running.observe(rng.lognormvariate(5.0, 1.4))
        if number >= 1_000:
            off.append(running.mean / 395.4 - 1)  # e^(5 + 1.4² ÷ 2)
    assert sum(each**2 for each in off) / len(off) < 0.2**2, "a quarter off is usual for the mean of the last hundred"


def test_values_that_have_become_others_move_it_as_soon_as_that_is_clear() -> None:
    rng = Random(3)  # noqa: S311 - a test
    running = mean_of([rng.lognormvariate(5.0, 0.6) for _ in range(500)])
    before = running.mean
    for _ in range(50):
        running.observe(3 * rng.lognormvariate(5.0, 0.6))
    assert running.mean > 2 * before, "most of the last fifty"


def test_the_least_change_of_values_that_were_all_alike_is_clear() -> None:
    assert mean_of([300.0] * 100 + [310.0] * 35).mean == pytest.approx(305, abs=0.2)


def test_in_the_end_the_lasting_mean_is_that_of_the_new_values() -> None:
    assert mean_of([300.0] * 100 + [900.0] * 1_000).mean == pytest.approx(900, rel=0.02)


@pytest.mark.parametrize("seen", [80, 150])
def test_the_mean_is_at_first_that_of_all_values(seen: int) -> None:
    rng = Random(4)  # noqa: S311 - a test
    values = [rng.lognormvariate(5.0, 0.6) for _ in range(seen)]
    assert mean_of(values).mean == pytest.approx(fmean(values))


def test_from_the_two_hundredth_on_each_weighs_a_two_hundredth() -> None:
    running = mean_of([90.0, 110.0] * 150)
    before = running.mean
    running.observe(110.0)
    assert running.mean - before == pytest.approx((110 - before) / 200)


def test_where_they_have_become_others_each_weighs_a_fiftieth() -> None:
    assert mean_of([300.0] * 80 + [900.0] * 35).mean == pytest.approx(900 - 600 * 0.98**35, rel=1e-3)
    assert mean_of([900.0] * 80 + [300.0] * 35).mean == pytest.approx(300 + 600 * 0.98**35, rel=1e-3)
