"""Distributions of times and sizes. Pure: randomness is an argument."""

import math
import random
from dataclasses import dataclass
from itertools import accumulate

from claude_simulator.checks import require_number


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same value, 0 or more."""

    value: float

    def __post_init__(self) -> None:
        require_number(self, "value", least=0)

    def sample(self, _rng: random.Random) -> float:
        """The value."""
        return self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Any value from `low` to `high`, all equally likely."""

    low: float
    high: float

    def __post_init__(self) -> None:
        require_number(self, "low", least=0)
        require_number(self, "high", least=self.low)

    def sample(self, rng: random.Random) -> float:
        """One value."""
        return rng.uniform(self.low, self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """Many small values and few large ones; a value above `max` counts as `max`."""

    mean: float
    max: float | None = None

    def __post_init__(self) -> None:
        require_number(self, "mean", above=0)
        require_number(self, "max", above=0, optional=True)

    def sample(self, rng: random.Random) -> float:
        """One value."""
        return _clipped(rng.expovariate(1 / self.mean), 0, self.max)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogNormal:
    """Heavy-tailed, as prompt sizes and latencies are. `sigma` is the deviation of the logarithm.

    A value below `min` or above `max` counts as that.
    """

    median: float
    sigma: float
    min: float = 0.0
    max: float | None = None

    def __post_init__(self) -> None:
        require_number(self, "median", above=0)
        require_number(self, "sigma", least=0)
        require_number(self, "min", least=0)
        require_number(self, "max", least=self.min, optional=True)

    def sample(self, rng: random.Random) -> float:
        """One value."""
        return _clipped(rng.lognormvariate(math.log(self.median), self.sigma), self.min, self.max)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of some values, each as likely as its weight; without weights all equally."""

    values: tuple[float, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("values: none were given; one or more are allowed")
        if self.weights and len(self.weights) != len(self.values):
            raise ValueError(f"weights: {len(self.weights)} were given; one for each of {len(self.values)} values")
        for number in self.values:
            Constant(number)
        for number in self.weights:
            if not 0 < number < math.inf:
                raise ValueError(f"weights: {number!r} was given; a finite number above 0 is allowed")

    def sample(self, rng: random.Random) -> float:
        """One value."""
        cumulative = list(accumulate(self.weights)) if self.weights else None
        return rng.choices(self.values, cum_weights=cumulative)[0]


Distribution = Constant | Uniform | Exponential | LogNormal | Choice
"""How a time (seconds) or a size (tokens) varies from request to request."""


def branch(rng: random.Random) -> random.Random:
    """Random numbers of one's own: how many are drawn from them shifts no others."""
    return random.Random(rng.getrandbits(64))  # noqa: S311 - a simulation, no secret


def sample_tokens(distribution: Distribution, rng: random.Random) -> int:
    """One size in whole tokens, at least 1."""
    return max(1, round(distribution.sample(rng)))


def _clipped(value: float, least: float, most: float | None) -> float:
    return max(least, value if most is None else min(value, most))
