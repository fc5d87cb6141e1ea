"""Lengths of answers and waits for output are those of a plain computation over all observations."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.leases.answer_lengths import AnswerLengths, LengthDistribution, relative_age
from tidegate.core.leases.open_leases import OpenLease
from tidegate.core.leases.output_ahead import OutputAhead

KEPT = 0.998
"""The weight of an answer relative to that of the next one."""
EDGES = [2 ** (-5 + half / 2) for half in range(1, 26)]
"""Between the bins of relative ages."""


@dataclass(frozen=True)
class Seen:
    """One observation of an answer: between two ages, in seconds at 64 tokens a second; `tokens` None: it goes on."""

    estimate: int
    from_s: float
    to_s: float
    tokens: int | None = None


def bin_of(seconds: float, estimate: int) -> int:
    """Its age is rounded as in the tested code: an answer can be exactly at the edge of a bin."""
    return bisect_right(EDGES, relative_age(round(seconds * S), estimate))


def counted(history: list[Seen]) -> list[tuple[float, Seen]]:
    """Those that count, with their weights: not the first ones whose estimates are far from the mean length."""
    kept: list[tuple[int, Seen]] = []
    ends = total = count = 0
    for seen in history:
        if seen.tokens is not None and count < 100:
            total, count = total + seen.tokens, count + 1
        mean = total / max(1, count)
        if count == 100 or mean / 2 <= seen.estimate <= mean * 2:
            kept.append((ends, seen))
            ends += seen.tokens is not None
    return [(KEPT ** (ends - before), seen) for before, seen in kept]


def distribution(kept: list[tuple[float, Seen]]) -> LengthDistribution | None:
    ends = [(weight, seen, seen.tokens) for weight, seen in kept if seen.tokens is not None]
    if sum(weight for weight, *_ in ends) < 10:
        return None
    ages, lengths, shares = [], [], []
    reached = 1.0
    bins = [(weight, bin_of(seen.from_s, seen.estimate), bin_of(seen.to_s, seen.estimate)) for weight, seen in kept]
    for index in range(26):
        own = [
            (weight, s.to_s * 64 / s.estimate, n / s.estimate)
            for weight, s, n in ends
            if bin_of(s.to_s, s.estimate) == index
        ]
        passed = sum(weight for weight, first, last in bins if first <= index < last)
        ended = sum(weight for weight, *_ in own)
        if own and reached > 0:
            ages.append(sum(weight * age for weight, age, _ in own) / ended)
            lengths.append(sum(weight * length for weight, _, length in own) / ended)
            shares.append(reached * (ended / (ended + passed)))
            reached -= shares[-1]
    if reached > 0:
        ages, lengths, shares = [*ages, 1.5 * ages[-1]], [*lengths, 1.5 * lengths[-1]], [*shares, reached]
    older = [sum(shares[index:]) for index in range(len(shares))]
    sums = [sum(map(math.prod, zip(shares[index:], lengths[index:], strict=True))) for index in range(len(shares))]
    return LengthDistribution(ages, lengths, older, sums)


def charge(lengths: LengthDistribution, age: float, later: float, pace: float, least: float) -> float:
    """The expected charge over all ages at which the answer may still end."""
    shares = [here - beyond for here, beyond in pairwise([*lengths.older, 0.0])]
    possible = [each for each in zip(lengths.ages, lengths.lengths, shares, strict=True) if each[0] > age]
    if not possible:
        at = min(age + later, 1.5 * age)
        return max(least, pace * lengths.lengths[-1] * at / lengths.ages[-1])
    at, total = age + later, 0.0
    for end, length, share in possible:
        if end <= at:
            total += share * pace * length
        else:
            next_end, next_length = next(
                each for each in zip(lengths.ages, lengths.lengths, strict=True) if each[0] > at
            )
            total += share * max(least, pace * next_length * at / next_end)
    return total / sum(share for *_, share in possible)


def without_chance(kept: list[tuple[float, Seen]], estimate: float) -> float:
    """By the slope of a weighted regression line."""
    ends = [(weight, seen.estimate, seen.tokens) for weight, seen in kept if seen.tokens is not None]
    total = sum(weight for weight, *_ in ends)
    if not sum(weight * tokens for weight, _, tokens in ends):
        return estimate
    mean = sum(weight * given for weight, given, _ in ends) / total
    length = sum(weight * tokens for weight, _, tokens in ends) / total
    variance = sum(weight * (given - mean) ** 2 for weight, given, _ in ends) / total
    covariance = sum(weight * (given - mean) * (tokens - length) for weight, given, tokens in ends) / total
    slope = covariance / (variance + (20 / total * mean) ** 2) * mean / length
    return max(mean + min(max(slope, 0.0), 1.0) * (estimate - mean), estimate / 4)


def feed(history: list[Seen]) -> AnswerLengths:
    answers = AnswerLengths()
    for seen in history:
        from_ns, to_ns = round(seen.from_s * S), round(seen.to_s * S)
        if seen.tokens is None:
            answers.grew(seen.estimate, from_ns, to_ns)
        else:
            answers.ended(seen.estimate, from_ns, to_ns, seen.tokens)
    return answers


def observation(draw: tuple[int, int, int, int | None]) -> Seen:
    estimate, from_ms, passed_ms, tokens = draw
    return Seen(estimate, from_ms / 1_000, (from_ms + passed_ms) / 1_000, tokens)


OBSERVED = st.tuples(
    st.integers(1, 2_000),
    st.sampled_from([0, 7, 900, 40_001]),
    st.integers(0, 90_000),
    st.none() | st.integers(0, 3_000),
).map(observation)
HISTORIES = st.builds(
    lambda first, then: [Seen(900, 0, 9, 900)] * first + then,
    st.sampled_from([0, 1, 30, 99, 120]),
    st.lists(OBSERVED, min_size=10, max_size=30),
)


@given(HISTORIES, st.integers(1, 3_000))
def test_the_distribution_is_that_of_a_plain_count(history: list[Seen], estimate: int) -> None:
    kept = counted(history)
    answers, expected = feed(history), distribution(kept)
    found = answers.distribution()
    assert (found is None) == (expected is None)
    if found is not None and expected is not None:
        for own, other in zip(found, expected, strict=True):
            assert own == pytest.approx(other, rel=1e-6, abs=1e-9)
    assert answers.without_chance(estimate) == pytest.approx(without_chance(kept, estimate), rel=1e-6)


def possible_lengths(drawn: list[tuple[float, float, float]]) -> LengthDistribution:
    drawn = sorted(drawn)
    total = sum(share for *_, share in drawn)
    shares = [share / total for *_, share in drawn]
    products = [share * length for share, (_, length, _) in zip(shares, drawn, strict=True)]
    indices = range(len(drawn))
    return LengthDistribution(
        [age for age, *_ in drawn],
        [length for _, length, _ in drawn],
        [sum(shares[index:]) for index in indices],
        [sum(products[index:]) for index in indices],
    )


AMOUNTS = st.integers(1, 400).map(lambda number: number / 16)
DISTRIBUTIONS = st.lists(
    st.tuples(AMOUNTS, AMOUNTS, AMOUNTS), min_size=1, max_size=6, unique_by=lambda each: each[0]
).map(possible_lengths)


@given(DISTRIBUTIONS, st.just(0.0) | AMOUNTS, st.just(0.0) | AMOUNTS, AMOUNTS, AMOUNTS)
def test_a_charge_is_the_mean_over_all_possible_ends(
    lengths: LengthDistribution, age: float, later: float, pace: float, least: float
) -> None:
    found = lengths.charge(age, later, pace, least)
    assert found == pytest.approx(charge(lengths, age, later, pace, least))
    assert lengths.charge(age, later) == pytest.approx(charge(lengths, age, later, 1.0, 1.0))


HORIZONS_S = [0, *(2**number for number in range(9))]


@dataclass(frozen=True)
class InFlight:
    """A request that was granted and whose holder has reported so many seconds ago."""

    estimate: int
    granted_ago_s: int
    reported_ago_s: int
    known: int

    @property
    def charged(self) -> int:
        return max(self.estimate, self.known)

    def lease(self, now_ns: int) -> OpenLease:
        granted_ns = now_ns - self.granted_ago_s * S
        lease = OpenLease(Demand("p", DEFAULT_CALLER, Cost(1, 0, self.estimate)), (), granted_ns)
        lease.alive_ns = now_ns - self.reported_ago_s * S
        lease.known, lease.charged = Cost(0, 0, self.known), Cost(1, 0, self.charged)
        return lease


def change(lengths: LengthDistribution, request: InFlight, likely: float, horizon_s: float) -> float:
    """The expected change of the charge of a request until a horizon."""
    if not request.estimate or not horizon_s:
        return 0.0
    pace = 1.0
    if request.known >= likely:
        age = (request.granted_ago_s - request.reported_ago_s) * 64 / likely
        usual = lengths.produced(age)
        pace = min(max(request.known / likely / usual, 0.25), 4.0) if usual else 1.0
    age, least = request.granted_ago_s * 64 / likely, request.charged / likely
    return likely * charge(lengths, age, horizon_s * 64 / likely, pace, least) - request.charged


def mean_charges(lengths: LengthDistribution, likely: float) -> list[float]:
    """At each horizon, the mean charge of requests that are admitted evenly until then, by the trapezoidal rule."""
    at = [1.0, *(charge(lengths, 0.0, end_s * 64 / likely, 1.0, 1.0) for end_s in HORIZONS_S[1:])]
    areas = [
        (end_s - start_s) * (before + after) / 2
        for (start_s, before), (end_s, after) in pairwise(zip(HORIZONS_S, at, strict=True))
    ]
    return [1.0, *(sum(areas[:index]) / end_s for index, end_s in enumerate(HORIZONS_S[1:], start=1))]


AGES_S = st.sampled_from([0, 1, 10, 40, 60])
IN_FLIGHT = st.lists(
    st.tuples(st.just(0) | st.integers(1, 2_000), AGES_S, AGES_S, st.integers(0, 4_000)).map(
        lambda drawn: InFlight(drawn[0], max(drawn[1:3]), min(drawn[1:3]), drawn[3])
    ),
    max_size=8,
)


@given(
    HISTORIES,
    IN_FLIGHT,
    st.integers(1, 40),
    st.integers(1, 60) | st.integers(1, 60_000),
    st.sampled_from([0, 300, 20_000, -20, -30_000]),
)
def test_a_wait_for_output_solves_its_equation(
    history: list[Seen], in_flight: list[InFlight], requests: int, units: int, missing_ms: int
) -> None:
    """A token refills in a millisecond. The solution is between two horizons, or beyond the last one."""
    now_ns = 10**6 * S
    outputs = OutputAhead()
    outputs._lengths = feed(history)
    for number, request in enumerate(in_flight):
        outputs.leases[f"{number}"] = request.lease(now_ns)
    wait_s = outputs.wait_ns(requests, units, S / 1_000, missing_ms * S // 1_000, now_ns) / S
    kept = counted(history)
    lengths = distribution(kept)
    if lengths is None or units + missing_ms <= 0:
        assert wait_s == max(0, (units + missing_ms) / 1_000)
        return
    estimate = units / requests
    likely = without_chance(kept, estimate)
    those = [(each, without_chance(kept, each.estimate)) for each in in_flight]
    changes = [sum(change(lengths, each, its, horizon_s) for each, its in those) for horizon_s in HORIZONS_S]
    waits_s = [
        (missing_ms + units * likely / estimate * one + other) / 1_000
        for one, other in zip(mean_charges(lengths, likely), changes, strict=True)
    ]
    for (start_s, then_s), (end_s, later_s) in pairwise(zip(HORIZONS_S, waits_s, strict=True)):
        if later_s <= end_s:
            assert wait_s <= end_s
            here_s = then_s + (later_s - then_s) * (wait_s - start_s) / (end_s - start_s)
            assert wait_s == (pytest.approx(here_s, abs=1e-6) if then_s > 1e-6 else 0)
            return
    assert wait_s == pytest.approx(waits_s[-1])
