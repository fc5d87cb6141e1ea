"""Distributions and arrivals: their ranges, their means, and which parameters are refused."""

import math
import random
from itertools import islice, pairwise
from statistics import median
from typing import Any

import pytest

from claude_simulator.scenarios.arrivals import Pattern, arrival_seconds
from claude_simulator.scenarios.distributions import (
    Choice,
    Distribution,
    Exponential,
    LogNormal,
    Uniform,
    sample,
    sample_tokens,
)
from claude_simulator.scenarios.latency import Latency, LatencyDistribution


def seeded(seed: int = 1) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeats on purpose


def samples(distribution: Distribution, count: int = 4_000) -> list[float]:
    rng = seeded()
    return [sample(distribution, rng) for _ in range(count)]


def test_each_distribution_has_its_mean_and_range() -> None:
    assert set(samples(3)) == {3}
    uniform = samples(Uniform(low=2, high=4))
    assert 2 <= min(uniform) <= 2.1
    assert 3.9 <= max(uniform) <= 4
    assert median(uniform) == pytest.approx(3, rel=0.05)
    assert sum(samples(Exponential(mean=5))) / 4_000 == pytest.approx(5, rel=0.05)
    assert max(samples(Exponential(mean=5, max=6))) == 6
    lognormal = samples(LogNormal(median=100, sigma=0.5, min=50, max=300))
    assert (min(lognormal), max(lognormal)) == (50, 300)
    assert median(lognormal) == pytest.approx(100, rel=0.05)


def test_a_choice_follows_its_weights() -> None:
    weighted = samples(Choice(values=(1, 2), weights=(3, 1)))
    assert weighted.count(1) / len(weighted) == pytest.approx(0.75, abs=0.03)
    equal = samples(Choice(values=(1, 2)))
    assert equal.count(1) / len(equal) == pytest.approx(0.5, abs=0.03)


def test_token_counts_are_whole_and_at_least_one() -> None:
    assert sample_tokens(0.2, seeded()) == 1
    assert sample_tokens(2.6, seeded()) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Uniform(low=3, high=2), "high: 2 was given; a finite number from 3 is allowed"),
        (lambda: Exponential(mean=0), "mean: 0 was given; a finite number above 0 is allowed"),
        (lambda: LogNormal(median=1, sigma=math.nan), "sigma: nan was given; a finite number from 0 is allowed"),
        (lambda: LogNormal(median=1, sigma=1, min=5, max=4), "max: 4 was given; a finite number from 5 is allowed"),
        (lambda: Choice(values=()), "values: none were given; one or more are allowed"),
        (lambda: Choice(values=(1, 2), weights=(1,)), "weights: 1 were given; one for each of 2 values"),
    ],
)
def test_an_invalid_parameter_is_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_arrivals_are_steady_in_bursts_or_independent() -> None:
    rng = seeded()
    steady = arrival_seconds(Pattern.STEADY, 2, rng, start_seconds=1, stop_seconds=2.6)
    assert list(steady) == [1, 1.5, 2, 2.5]
    bursts = arrival_seconds(Pattern.BURSTS, 2, rng, start_seconds=1, stop_seconds=4, burst_requests=3)
    assert list(bursts) == [1, 1, 1, 2.5, 2.5, 2.5]
    poisson = list(arrival_seconds(Pattern.POISSON, 2, rng, stop_seconds=2_000))
    assert len(poisson) == pytest.approx(4_000, rel=0.05)
    assert all(one < other < 2_000 for one, other in pairwise(poisson))


def test_arrivals_without_an_end_go_on() -> None:
    endless = arrival_seconds(Pattern.STEADY, 1, seeded())
    assert list(islice(endless, 10_000))[-1] == 9_999


def test_latency_is_fixed_or_drawn() -> None:
    rng = seeded()
    fixed = Latency(first_token_seconds=1, per_token_seconds=2)
    assert fixed.draw(rng) is fixed
    drawn = LatencyDistribution(first_token_seconds=0.5, tokens_per_second=50).draw(rng)
    assert drawn == Latency(first_token_seconds=0.5, per_token_seconds=0.02)
    assert LatencyDistribution(tokens_per_second=0).draw(rng).per_token_seconds == 0
