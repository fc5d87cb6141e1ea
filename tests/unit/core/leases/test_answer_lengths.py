"""Lengths of answers relative to their estimates, and what they do to waits for output."""

import random

import hypothesis.strategies as st
import pytest
from hypothesis import given
from msgspec import structs

from support.dumps import assert_continues
from tidegate.core.domain.caller import DEFAULT_CALLER
from tidegate.core.domain.demand import Demand
from tidegate.core.domain.dimension import Cost
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.leases.answer_lengths import AnswerLengths, LengthDistribution, relative_age
from tidegate.core.leases.open_leases import OpenLease
from tidegate.core.leases.output_ahead import OutputAhead, _pace

PACE = 64
ESTIMATE = 640
"""Ten seconds."""


def took_ns(tokens: int) -> int:
    return tokens * S // PACE


def learned(*lengths: int, estimate: int = ESTIMATE) -> AnswerLengths:
    answers = AnswerLengths()
    for tokens in lengths:
        answers.ended(estimate, 0, took_ns(tokens), tokens)
    return answers


def distribution(answers: AnswerLengths) -> LengthDistribution:
    found = answers.distribution()
    assert found is not None
    return found


def test_few_answers_say_nothing() -> None:
    assert learned(*[ESTIMATE] * 10).distribution() is None, "the first of them count a little less"
    assert learned(*[ESTIMATE] * 11).distribution() is not None


def test_answers_that_go_on_before_any_has_ended_count_for_nothing() -> None:
    answers = AnswerLengths()
    answers.grew(1, 0, S)
    assert sum(answers.dump(0).passed) == 0


@pytest.mark.parametrize("estimate", [ESTIMATE // 2, 2 * ESTIMATE])
def test_an_estimate_may_be_half_or_twice_the_mean_length(estimate: int) -> None:
    assert sum(learned(ESTIMATE, estimate=estimate).dump(0).ended) == 1
    assert sum(learned(ESTIMATE - 1, estimate=2 * ESTIMATE).dump(0).ended) == 0


def test_an_answer_ends_when_those_that_lasted_longest_ended() -> None:
    """No share of the answers remains after them by rounding."""
    lengths = distribution(learned(*[640, 320, 320, 320] * 3))
    assert len(lengths.ages) == 2, lengths


def test_the_charge_of_new_and_old_answers() -> None:
    """Half of the answers end after 5 seconds, the others after 20."""
    lengths = distribution(learned(*[320, 1_280] * 50))
    assert lengths.charge(0.0, 0.0) == pytest.approx(1)
    assert lengths.charge(0.0, relative_age(6 * S, ESTIMATE)) == pytest.approx((0.5 + 1) / 2, rel=0.02)
    assert lengths.charge(0.0, relative_age(30 * S, ESTIMATE)) == pytest.approx((0.5 + 2) / 2, rel=0.02)
    assert lengths.charge(1.0, 0.5) == pytest.approx(1.5)
    assert lengths.charge(1.0, 5.0) == pytest.approx(2)
    assert lengths.charge(1.0, 5.0, pace=1.5) == pytest.approx(3)


def test_an_end_that_no_answer_was_seen_to_reach_counts_for_nothing() -> None:
    """The later answers were not seen before they ended: none has passed the age at which all others have ended."""
    answers = learned(*[320] * 50)
    for _ in range(50):
        answers.ended(ESTIMATE, took_ns(1_280), took_ns(1_280), 1_280)
    lengths = distribution(answers)
    assert min(lengths.older) > 0
    assert lengths.charge(1.0, 1.0) == pytest.approx(1.5)


def test_an_answer_older_than_all_others_becomes_half_as_old_again() -> None:
    lengths = distribution(learned(*[ESTIMATE] * 50))
    assert lengths.charge(4.0, 1.0) == pytest.approx(5)
    assert lengths.charge(4.0, 100.0) == pytest.approx(6)


def test_the_first_answers_that_end_are_the_short_ones() -> None:
    answers = learned(*[320] * 20)
    for _ in range(20):
        answers.grew(ESTIMATE, 0, took_ns(1_000))
    lengths = distribution(answers)
    assert lengths.older[-1] == pytest.approx(0.5, abs=0.03)
    assert lengths.sums[0] > 0.6


def test_estimates_from_before_any_length_was_known_are_left_out() -> None:
    answers = AnswerLengths()
    for _ in range(40):
        answers.grew(4_000, 0, took_ns(300))
        answers.ended(4_000, 0, took_ns(320), 320)
    for _ in range(40):
        answers.ended(320, 0, took_ns(320), 320)
    assert distribution(answers).sums[0] == pytest.approx(1)


def test_estimates_that_differ_by_chance_are_moved_to_their_mean() -> None:
    rng, by_chance, by_length = random.Random(1), AnswerLengths(), AnswerLengths()  # noqa: S311
    for _ in range(400):
        estimate = rng.choice([500, 700])
        by_chance.ended(estimate, 0, S, rng.choice([300, 900]))
        by_length.ended(estimate, 0, S, estimate)
    assert by_chance.without_chance(700) == pytest.approx(600, abs=40)
    assert by_length.without_chance(700) == pytest.approx(690, abs=10)


def test_an_estimate_that_fell_before_long_answers_ended_is_moved_to_the_mean() -> None:
    """The short ones of the first answers have ended, and so have the shortest of those with lower estimates."""
    answers = learned(*[500] * 20, estimate=640)
    for tokens in (300, 320):
        answers.ended(500, 0, took_ns(tokens), tokens)
    assert answers.without_chance(500) == pytest.approx(622, abs=10)
    for _ in range(100):
        answers.ended(2_000, 0, took_ns(2_000), 2_000)
    assert answers.without_chance(2_000) == pytest.approx(2_000, abs=100), "chance does not explain such differences"
    assert learned(*[0] * 120).without_chance(500) == 500


def test_an_estimate_is_reduced_to_a_quarter_at_most() -> None:
    assert learned(1, estimate=1).without_chance(500) == 125


def test_an_estimate_is_not_moved_away_from_the_mean() -> None:
    answers = AnswerLengths()
    for _ in range(200):
        answers.ended(500, 0, S, 300)
        answers.ended(700, 0, S, 900)
    assert answers.without_chance(700) == pytest.approx(700)


def test_a_lease_is_charged_at_least_what_was_charged() -> None:
    lengths = distribution(learned(*[320, 1_280] * 50))
    assert lengths.charge(0.0, 0.0, least=1.5) == pytest.approx(1.5)
    assert lengths.charge(0.0, relative_age(6 * S, ESTIMATE), least=1.5) == pytest.approx((0.5 + 1.5) / 2, rel=0.02)
    assert lengths.charge(3.0, 0.1, least=4.0) == pytest.approx(4)


def test_only_ratios_of_weights_count() -> None:
    answers = learned(*[320, 1_280, 640] * 40)
    state = answers.dump(0)
    assert state.count == 100, "further ones are not counted"
    names = ("ended", "ages", "lengths", "passed", "moments")
    times = 1e9 / state.weight
    larger = {name: tuple(times * each for each in getattr(state, name)) for name in names}
    large = AnswerLengths.restore(structs.replace(state, weight=1e9, **larger), 0)
    for each in (answers, large):
        each.ended(700, 0, took_ns(600), 600)
    assert large.dump(0).weight == pytest.approx(1), "it would soon overflow"
    for one, other in zip(distribution(large), distribution(answers), strict=True):
        assert one == pytest.approx(other)
    assert large.without_chance(500) == pytest.approx(answers.without_chance(500))


@pytest.mark.parametrize(("age_ns", "place"), [(0, 0), (200 * S // 64, 25), (300 * S // 64, 25), (10**18, 25)])
def test_any_age_has_a_place(age_ns: int, place: int) -> None:
    answers = AnswerLengths()
    for _ in range(20):
        answers.ended(1, 0, age_ns, 1)
    assert distribution(answers).lengths == [1]
    assert [index for index, ended in enumerate(answers.dump(0).ended) if ended] == [place]


SIZES = st.integers(1, 5_000)
STEPS = st.lists(st.tuples(st.just(0), st.tuples(st.booleans(), SIZES, SIZES)), max_size=40)


def go_on(answers: AnswerLengths, step: tuple[bool, int, int], _now_ns: int) -> object:
    has_ended, estimate, tokens = step
    if has_ended:
        answers.ended(estimate, 0, took_ns(tokens), tokens)
    else:
        answers.grew(estimate, 0, took_ns(tokens))
    return answers.distribution()


@given(STEPS, STEPS, st.integers(-(10**15), 10**15))
def test_lengths_continue_from_their_dump(
    history: list[tuple[int, tuple[bool, int, int]]],
    continuation: list[tuple[int, tuple[bool, int, int]]],
    shift_ns: int,
) -> None:
    assert_continues(AnswerLengths(), go_on, AnswerLengths.restore, history, continuation, shift_ns)


class TestOutputAhead:
    """One token refills in a millisecond."""

    @staticmethod
    def lease(known: int = 0, granted_ns: int = 0, alive_ns: int = 0, estimate: int = ESTIMATE) -> OpenLease:
        lease = OpenLease(Demand("p", DEFAULT_CALLER, Cost(1, 0, estimate)), (), granted_ns)
        lease.known, lease.alive_ns = Cost(0, 0, known), alive_ns
        lease.charged = Cost(1, 0, max(estimate, known))
        return lease

    def ended(self, outputs: OutputAhead, *lengths: int, estimate: int = ESTIMATE) -> None:
        for tokens in lengths:
            outputs.ended(self.lease(estimate=estimate), tokens, took_ns(tokens))

    @staticmethod
    def seconds(outputs: OutputAhead, units: float, now_ns: int = 0, missing_ns: int = 0) -> float:
        return outputs.wait_ns(units / ESTIMATE, units, S / 1_000, missing_ns, now_ns) / S

    def test_while_nothing_is_known_estimates_count(self) -> None:
        outputs = OutputAhead()
        assert self.seconds(outputs, 6_400, missing_ns=S) == 7.4
        assert self.seconds(outputs, 6_400, missing_ns=-9 * S) == 0

    def test_answers_that_end_early_shorten_a_wait(self) -> None:
        outputs = OutputAhead()
        self.ended(outputs, *[320] * 200)
        assert 64 < self.seconds(outputs, 128_000) < 70
        assert self.seconds(outputs, 0, missing_ns=S) == 1
        assert self.seconds(outputs, 640_000) == pytest.approx(320, rel=0.03), "beyond the last horizon"

    def test_long_answers_in_flight_lengthen_it(self) -> None:
        outputs = OutputAhead()
        self.ended(outputs, *[320, 320, 320, 5_120] * 50)
        before = self.seconds(outputs, 12_800)
        outputs.leases["no output"] = self.lease(estimate=0)
        for number in range(5):  # each takes 64 of a thousand tokens a second, for 60 more seconds
            outputs.leases[f"{number}"] = self.lease(1_280, granted_ns=0, alive_ns=20 * S)
        assert self.seconds(outputs, 12_800, now_ns=20 * S) == pytest.approx(before * 1.5, rel=0.25)
        assert outputs.dump(0) == OutputAhead.restore(outputs.dump(0), 0).dump(0)

    def test_many_leases_are_sampled(self) -> None:
        outputs = OutputAhead()
        self.ended(outputs, *[320] * 50)
        for number in range(1_000):
            outputs.leases[f"{number}"] = self.lease()
        assert 35 < self.seconds(outputs, 640_000) < 50, "half of 640 seconds comes back, and half of what is in flight"

    @pytest.mark.parametrize(("count", "alike"), [(256, False), (257, True), (512, True)])
    def test_above_256_leases_each_of_those_looked_at_stands_for_its_neighbours(
        self, count: int, *, alike: bool
    ) -> None:
        every, every_other = OutputAhead(), OutputAhead()
        for outputs in (every, every_other):
            self.ended(outputs, *[320] * 50)
        for number in range(count):
            every.leases[f"{number}"] = self.lease()
            every_other.leases[f"{number}"] = self.lease(estimate=0 if number % 2 else ESTIMATE)
        waits = [self.seconds(outputs, 640_000) for outputs in (every, every_other)]
        assert (waits[0] == waits[1]) is alike

    @pytest.mark.parametrize(
        ("known", "alive_s", "pace"),
        [(639, 10, 1), (1_280, 10, 2), (6_400, 10, 4), (960, 80, 0.25), (960, 0, 1)],
        ids=["in its estimate", "fast", "very fast", "very slow", "no time has passed"],
    )
    def test_the_pace_of_an_answer_beyond_its_estimate(self, known: int, alive_s: int, pace: float) -> None:
        lengths = LengthDistribution([1.0, 8.0], [1.0, 8.0], [1.0, 0.5], [4.5, 4.0])
        assert _pace(self.lease(known, 5 * S, (5 + alive_s) * S), ESTIMATE, lengths) == pace

    def test_leases_are_looked_at_again_after_a_quarter_of_a_second_and_after_a_dump(self) -> None:
        outputs = OutputAhead()
        self.ended(outputs, *[320] * 50)
        before = self.seconds(outputs, 64_000, now_ns=8 * S)
        outputs.leases["a"] = self.lease(granted_ns=8 * S, estimate=20_000)
        assert self.seconds(outputs, 64_000, now_ns=8 * S + S // 4 - 1) == before
        after = self.seconds(outputs, 64_000, now_ns=8 * S + S // 4)
        assert after < before - 1, "part of what the new one is charged comes back"
        del outputs.leases["a"]
        outputs.dump(8 * S + S // 4)
        assert self.seconds(outputs, 64_000, now_ns=8 * S + S // 4) == before

    def test_answers_count_from_their_grant_and_the_last_report(self) -> None:
        outputs, answers = OutputAhead(), learned(*[ESTIMATE] * 20)
        self.ended(outputs, *[ESTIMATE] * 20)
        lease = self.lease(granted_ns=7 * S, alive_ns=9 * S)
        outputs.grew(lease, 8 * S, 9 * S)
        outputs.ended(lease, 700, 20 * S)
        answers.grew(ESTIMATE, S, 2 * S)
        answers.ended(ESTIMATE, 2 * S, 13 * S, 700)
        assert outputs.dump(0) == answers.dump(0)

    def test_requests_without_an_estimate_teach_nothing(self) -> None:
        outputs = OutputAhead()
        outputs.grew(self.lease(estimate=0), 0, S)
        self.ended(outputs, *[320] * 50, estimate=0)
        assert self.seconds(outputs, 6_400) == 6.4
