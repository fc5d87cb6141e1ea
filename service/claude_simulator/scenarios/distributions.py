"""Distributions of times and sizes. Pure: randomness is an argument."""

import math
import random
from itertools import accumulate
from typing import Annotated, Final

from msgspec import Meta, Struct

from claude_simulator.checks import require_number

_MOST: Final = 1e12  # excludes infinity, which msgspec does not accept as a bound
NonNegative = Annotated[float, Meta(ge=0, le=_MOST)]
Positive = Annotated[float, Meta(gt=0, le=_MOST)]


class Uniform(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="distribution", tag="uniform"):
    """Uniform from `low` to `high`."""

    low: float
    high: float

    def __post_init__(self) -> None:
        require_number(self, "low", least=0)
        require_number(self, "high", least=self.low)

    def sample(self, rng: random.Random) -> float:
        """Draws one value."""
        return rng.uniform(self.low, self.high)


class Exponential(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="distribution", tag="exponential"
):
    """Exponential; values above `max` are cut to `max`."""

    mean: float
    max: float | None = None

    def __post_init__(self) -> None:
        require_number(self, "mean", above=0)
        require_number(self, "max", above=0, optional=True)

    def sample(self, rng: random.Random) -> float:
        """Draws one value."""
        return _clipped(rng.expovariate(1 / self.mean), 0, self.max)


class LogNormal(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="distribution", tag="lognormal"
):
    """Log-normal, heavy-tailed like real prompt sizes and latencies; `sigma` is the deviation of the logarithm.

    Values are cut to the range from `min` to `max`.
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
        """Draws one value."""
        return _clipped(rng.lognormvariate(math.log(self.median), self.sigma), self.min, self.max)


class Choice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="distribution", tag="choice"):
    """One of `values`, in proportion to `weights`; without weights all are equally likely."""

    values: tuple[NonNegative, ...]
    weights: tuple[Positive, ...] = ()

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError("values: none were given; one or more are allowed")
        if self.weights and len(self.weights) != len(self.values):
            raise ValueError(f"weights: {len(self.weights)} were given; one for each of {len(self.values)} values")

    def sample(self, rng: random.Random) -> float:
        """Draws one value."""
        cumulative = list(accumulate(self.weights)) if self.weights else None
        return rng.choices(self.values, cum_weights=cumulative)[0]


Distribution = NonNegative | Uniform | Exponential | LogNormal | Choice
"""The distribution of a time in seconds or a size in tokens over requests. A number is a constant."""


def branch(rng: random.Random) -> random.Random:
    """Creates an independent generator: drawing from it does not change what others draw."""
    return random.Random(rng.getrandbits(64))  # noqa: S311 - a simulation, no secret


def sample(distribution: Distribution, rng: random.Random) -> float:
    """Draws one value."""
    return distribution if isinstance(distribution, int | float) else distribution.sample(rng)


def sample_tokens(distribution: Distribution, rng: random.Random) -> int:
    """Draws one size in whole tokens, at least 1."""
    return max(1, round(sample(distribution, rng)))


def _clipped(value: float, least: float, most: float | None) -> float:
    return max(least, value if most is None else min(value, most))
