"""The lengths of answers, in tokens and in time, compared with their estimates."""

import math
from bisect import bisect_right
from itertools import accumulate
from typing import Final, NamedTuple, Self

from msgspec import Struct

from tidegate.core.domain.nanoseconds import NS_PER_SECOND

__all__ = ["AnswerLengths", "AnswerLengthsState", "LengthDistribution", "relative_age"]

_NOMINAL_PER_SECOND: Final = 64
"""Tokens a second. Any number would do: it makes ages of answers with different estimates comparable."""
_PER_OCTAVE: Final = 2
_LEAST_OCTAVE: Final = -5
_LEAST_AGE: Final = 2.0**_LEAST_OCTAVE
_BINS: Final = 26
"""Half octaves of relative age, from 1/32 to 256."""
_KEPT: Final = 0.998
"""The weight of an answer once the next one has ended: the distribution covers about 500 answers."""
_LARGEST_WEIGHT: Final = 1e9
_ENOUGH: Final = 10.0
"""Fewer answers say nothing about their distribution."""
_MANY: Final = 100
"""While fewer answers have ended, those whose estimates are far from the mean length are left out."""
_DOUBT: Final = 20.0
"""Once so many answers have ended, differences of estimates as large as their mean count by half. The short ones end
first, and estimates fall with them: the slope of a line through few answers is wrong."""
_LONGER: Final = 1.5
"""Answers that are older than all that have ended will probably become half as old again."""


class AnswerLengthsState(Struct, frozen=True, array_like=True):
    """The dump of an `AnswerLengths`."""

    weight: float
    ended: tuple[float, ...]
    ages: tuple[float, ...]
    lengths: tuple[float, ...]
    passed: tuple[float, ...]
    moments: tuple[float, ...]
    count: int
    mean: float


class LengthDistribution(NamedTuple):
    """Possible ages at which an answer ends, as a discrete distribution.

    Attributes:
        ages: relative ages, in order.
        lengths: for each of them, the mean length of answers that end then, relative to their estimates.
        older: for each of them, the probability to reach it.
        sums: for each of them, the sum of probability × length from this one on.
    """

    ages: list[float]
    lengths: list[float]
    older: list[float]
    sums: list[float]

    def charge(self, age: float, later: float, pace: float = 1.0, least: float = 1.0) -> float:
        """The expected charge, relative to the estimate, of an answer of this age that is `later` older.

        An answer that has ended is charged its length. Before, it is charged `least`, or its length until then if that
        is more. `pace` is that of this answer divided by the usual one.
        """
        first, ended = bisect_right(self.ages, age), bisect_right(self.ages, age + later)
        if first == len(self.ages):
            most = age * _LONGER
            return max(least, pace * self.produced(min(age + later, most)))
        if ended == len(self.ages):
            return pace * self.sums[first] / self.older[first]
        still = self.older[ended] * max(least, pace * self.produced(age + later))
        return (pace * (self.sums[first] - self.sums[ended]) + still) / self.older[first]

    def produced(self, age: float) -> float:
        """The usual length of an answer of this age that has not ended, relative to its estimate."""
        index = min(bisect_right(self.ages, age), len(self.ages) - 1)
        return self.lengths[index] * age / self.ages[index]


class AnswerLengths:
    """The distribution of ages and lengths of answers, relative to their estimates.

    In each bin of the age, some answers end and some pass to the next bin. Their numbers give the probability to end in
    it:

        ended ÷ (ended + passed)

    This holds while the first answers are produced as well: answers that have ended until then are the short ones, but
    the others were seen to pass (Kaplan and Meier, "Nonparametric estimation from incomplete observations", 1958).

    Ages count from the admission, in the time that the estimate takes at 64 tokens a second.
    """

    __slots__ = ("_ages", "_count", "_ended", "_lengths", "_mean", "_moments", "_passed", "_weight")

    def __init__(self) -> None:
        self._weight = 1.0  # of the next answer: it grows instead of all others being reduced
        self._ended = [0.0] * _BINS
        self._ages = [0.0] * _BINS  # sums over the answers that ended
        self._lengths = [0.0] * _BINS
        self._passed = [0.0] * _BINS
        self._count = 0  # of the answers that ended, up to 100
        self._mean = 0.0  # their mean length
        self._moments = [0.0] * 5  # sums of 1, estimate, tokens, estimate², estimate × tokens

    def dump(self, _now_ns: int) -> AnswerLengthsState:
        """The state, for `restore`."""
        return AnswerLengthsState(
            self._weight,
            tuple(self._ended),
            tuple(self._ages),
            tuple(self._lengths),
            tuple(self._passed),
            tuple(self._moments),
            self._count,
            self._mean,
        )

    @classmethod
    def restore(cls, state: AnswerLengthsState, _now_ns: int) -> Self:
        """Continues from `state`."""
        restored = cls()
        restored._weight = state.weight
        restored._ended, restored._ages = list(state.ended), list(state.ages)
        restored._lengths, restored._passed = list(state.lengths), list(state.passed)
        restored._moments, restored._count, restored._mean = list(state.moments), state.count, state.mean
        return restored

    def grew(self, estimate: int, from_ns: int, to_ns: int) -> None:
        """An answer that was seen at age `from_ns` has not ended at age `to_ns`."""
        if self._is_guess(estimate):
            return
        for index in range(_bin(relative_age(from_ns, estimate)), _bin(relative_age(to_ns, estimate))):
            self._passed[index] += self._weight

    def ended(self, estimate: int, from_ns: int, to_ns: int, tokens: int) -> None:
        """An answer that was last seen at age `from_ns` has ended at age `to_ns`, with so many tokens."""
        if self._count < _MANY:
            self._count += 1
            self._mean += (tokens - self._mean) / self._count
            if self._is_guess(estimate):
                return
        weight, age = self._weight, relative_age(to_ns, estimate)
        index, passed = _bin(age), self._passed
        for other in range(_bin(relative_age(from_ns, estimate)), index):
            passed[other] += weight
        self._ended[index] += weight
        self._ages[index] += weight * age
        self._lengths[index] += weight * tokens / estimate
        moments = self._moments  # no loop: each answer passes here
        moments[0] += weight
        moments[1] += weight * estimate
        moments[2] += weight * tokens
        moments[3] += weight * (estimate * estimate)
        moments[4] += weight * (estimate * tokens)
        self._weight = weight / _KEPT
        if self._weight > _LARGEST_WEIGHT:
            self._rescale(1 / self._weight)

    def without_chance(self, estimate: float) -> float:
        """The estimate, moved towards the mean estimate as far as differences of estimates say nothing about lengths.

        That is shown by the slope of a line through the observed lengths: 0 if estimates vary by chance, 1 if lengths
        differ as estimates do. It is reduced while few answers have ended, the more the less their estimates differ.
        """
        weight, estimates, tokens, squares, products = self._moments
        if tokens <= 0:
            return estimate
        mean, length = estimates / weight, tokens / weight
        variance, covariance = squares / weight - mean * mean, products / weight - mean * length
        doubt = _DOUBT * self._weight / weight * mean
        slope = min(max(covariance / (variance + doubt * doubt) * mean / length, 0.0), 1.0)
        return max(mean + slope * (estimate - mean), estimate / 4)

    def distribution(self) -> LengthDistribution | None:
        """The distribution; None while too few answers have ended."""
        if sum(self._ended) < _ENOUGH * self._weight:
            return None
        reached = 1.0
        ages: list[float] = []
        lengths: list[float] = []
        shares: list[float] = []
        for index, (ended, passed) in enumerate(zip(self._ended, self._passed, strict=True)):
            if ended and reached > 0:  # an answer that was not seen to pass may end after all others have
                shares.append(reached * (ended / (ended + passed)))
                ages.append(self._ages[index] / ended)
                lengths.append(self._lengths[index] / ended)
                reached -= shares[-1]
        if reached > 0:  # some are older than all that have ended
            ages.append(ages[-1] * _LONGER)
            lengths.append(lengths[-1] * _LONGER)
            shares.append(reached)
        sums = [share * length for share, length in zip(shares, lengths, strict=True)]
        return LengthDistribution(ages, lengths, _from_each_on(shares), _from_each_on(sums))

    def _is_guess(self, estimate: int) -> bool:
        """Whether an estimate was probably made before any length was known."""
        return self._count < _MANY and not self._mean / 2 <= estimate <= self._mean * 2

    def _rescale(self, factor: float) -> None:
        self._weight *= factor
        for values in (self._ended, self._ages, self._lengths, self._passed, self._moments):
            values[:] = [factor * each for each in values]


def relative_age(age_ns: float, estimate: float) -> float:
    """An age in the time that the estimate takes at the nominal pace."""
    return age_ns * (_NOMINAL_PER_SECOND / NS_PER_SECOND) / estimate


def _bin(age: float) -> int:
    if age <= _LEAST_AGE:
        return 0
    index = int(_PER_OCTAVE * (math.log2(age) - _LEAST_OCTAVE))
    return index if index < _BINS else _BINS - 1


def _from_each_on(values: list[float]) -> list[float]:
    return list(accumulate(reversed(values)))[::-1]
