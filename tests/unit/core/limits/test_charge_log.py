"""The replay of refill and charges since an old figure."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.limits.charge_log import ChargeLog, Replay, _Block

PER_MINUTE = 600.0  # 10 a second
CAPACITY = 100.0
MS = S // 1000


def replay(log: ChargeLog, remaining: int, since_ns: int, now_ns: int) -> Replay:
    return log.replay(remaining, since_ns, PER_MINUTE, CAPACITY, now_ns)


@pytest.fixture
def log() -> ChargeLog:
    return ChargeLog()


def test_without_charges_it_is_refilled_up_to_the_capacity(log: ChargeLog) -> None:
    assert replay(log, 20, 0, 3 * S) == Replay(50, 0, 0)
    assert replay(log, 20, 0, 30 * S) == Replay(100, 0, 0)


def test_charges_since_the_report_are_subtracted(log: ChargeLog) -> None:
    log.add(30, 1 * S)
    log.add(15, 2 * S)
    assert replay(log, 50, 0, 3 * S) == Replay(35, 45, 0)
    assert replay(log, 50, S + S // 2, 3 * S) == Replay(50, 15, 0)


def test_all_that_was_charged_at_about_that_moment_is_near(log: ChargeLog) -> None:
    for offset_ms, units in ((-30, 1), (-10, 2), (0, 4), (10, 8), (30, 16)):
        log.add(units, S + offset_ms * MS)
    told = replay(log, 50, S, S + 40 * MS)
    assert (told.later, told.near) == (16, 14)


def test_refill_that_a_full_bucket_lost_is_not_counted(log: ChargeLog) -> None:
    log.add(50, 10 * S)
    assert replay(log, 90, 0, 10 * S).level == 50, "full after 1 s: a sum would say 140"


def test_a_debt_refills_like_anything_else(log: ChargeLog) -> None:
    log.add(80, S)
    assert replay(log, 0, 0, S).level == -70
    assert replay(log, 0, 0, 9 * S).level == 10


def test_charges_before_the_report_are_included_in_it(log: ChargeLog) -> None:
    log.add(30, S)
    assert replay(log, 50, 2 * S, 2 * S) == Replay(50, 0, 0)


@pytest.mark.parametrize(("offset_ms", "later", "near"), [(-21, 0, 0), (-20, 0, 7), (20, 0, 7), (21, 7, 0)])
def test_requests_within_20_ms_may_have_overtaken_each_other(
    log: ChargeLog, offset_ms: int, later: int, near: int
) -> None:
    log.add(7, S + offset_ms * MS)
    assert replay(log, 50, S, 2 * S)[1:] == (later, near)


def test_units_that_were_given_back_count_as_well(log: ChargeLog) -> None:
    log.add(40, S)
    log.add(-30, 2 * S)
    assert replay(log, 50, 0, 2 * S) == Replay(60, 10, 0)
    assert log.total == 10


def test_is_forgotten_after_two_minutes_and_a_few_more_but_for_the_total(log: ChargeLog) -> None:
    for second in range(1_000):
        log.add(1, second * S)
    assert 120 <= len(log) <= 120 + 2 * 128
    assert log.total == 1_000
    assert replay(log, 50, 999 * S - 120 * S, 999 * S)[1:] == (120, 1)


def test_a_long_pause_leaves_nothing_but_the_newest(log: ChargeLog) -> None:
    for number in range(128):
        log.add(1, number * S)
    log.add(1, 10_000 * S)
    assert (len(log), log.total) == (1, 129)


def test_charges_within_five_milliseconds_are_one(log: ChargeLog) -> None:
    for now_ns in (S, S + 5 * MS - 1, S + 5 * MS):
        log.add(7, now_ns)
    assert (len(log), log.total) == (2, 21)
    assert replay(log, 50, 0, S + 5 * MS)[1:] == (21, 0)


def test_memory_does_not_grow_with_the_rate(log: ChargeLog) -> None:
    per_second = 1_000
    for number in range(130 * per_second):
        log.add(9, number * (S // per_second))
        log.add(-4, number * (S // per_second) + 100)
    assert len(log) <= 120 * 200 + 2 * 128
    assert log.total == 130 * per_second * 5
    told = replay(log, 50, 120 * S, 130 * S)
    assert told.later + told.near == pytest.approx((10 + 0.02) * per_second * 5, abs=5 * 5), "but for a slot's worth"


def test_a_dump_of_128_slots_is_exact_and_may_be_restored_just_after_the_machine_started(log: ChargeLog) -> None:
    for number in range(128):
        log.add(number, number * S // 10)
    now_ns = 13 * S
    state = log.dump(now_ns)
    assert len(state.slots) == 128
    assert ChargeLog.restore(state, 0).dump(0) == state
    assert replay(ChargeLog.restore(state, 0), 0, -9 * S, 0) == replay(log, 0, 4 * S, now_ns)


def test_an_exact_dump_keeps_all_slots_and_goes_on_like_the_original(log: ChargeLog) -> None:
    rng = Random(1)  # noqa: S311 - a simulation
    for number in range(300):
        log.add(rng.randrange(20), number * S // 10)
    restored = ChargeLog.restore(log.dump(30 * S, exact=True), 0)
    assert len(restored) == 300
    for number in range(150):
        for each, began_ns in ((log, 30 * S), (restored, 0)):
            each.add(7, began_ns + number * S // 10)
    for since_ns in (0, 5 * S, 29 * S):
        assert replay(restored, 50, since_ns - 30 * S, 15 * S) == replay(log, 50, since_ns, 45 * S)
    assert restored.dump(15 * S, exact=True) == log.dump(45 * S, exact=True)


def test_slots_in_a_longer_dump_are_nearly_a_second_apart(log: ChargeLog) -> None:
    for number in range(1_000):
        log.add(1, number * S // 10)
    ages_ns = [ago_ns for ago_ns, _ in log.dump(100 * S).slots]
    assert ages_ns[0] == 100 * S
    assert min(before - after for before, after in pairwise(ages_ns)) > 0.94 * S


def test_a_longer_dump_goes_back_two_minutes(log: ChargeLog) -> None:
    for number in range(700):
        log.add(1, number * S // 4)
    assert 119 * S < log.dump(175 * S).slots[0][0] <= 120 * S


@given(st.lists(st.tuples(st.integers(21 * MS, 5 * S), st.integers(0, 40)), max_size=20), st.integers(0, 100))
def test_replaying_all_of_it_gives_what_a_bucket_would_hold(charges: list[tuple[int, int]], remaining: int) -> None:
    log = ChargeLog()
    level, now_ns = float(remaining), 0
    for pause_ns, units in charges:
        level, now_ns = min(CAPACITY, level + pause_ns / S * 10) - units, now_ns + pause_ns
        log.add(units, now_ns)
    replayed = replay(log, remaining, 0, now_ns)
    assert replayed.level == pytest.approx(level, abs=1e-6)
    assert replayed[1:] == (sum(units for _, units in charges), 0)


def step_by_step(
    charges: list[tuple[int, int]], remaining: int, since_ns: int, capacity: float, now_ns: int
) -> tuple[float, int, int]:
    """The replay of slots as its docstring describes it."""
    level, at_ns, later, near = float(remaining), since_ns, 0, 0
    for charged_ns, units in charges:
        if since_ns + 20 * MS < charged_ns:
            level = min(capacity, level + (charged_ns - at_ns) * PER_MINUTE / (60 * S)) - units
            at_ns, later = charged_ns, later + units
        elif since_ns - 20 * MS <= charged_ns:
            near += units
    return min(capacity, level + (now_ns - at_ns) * PER_MINUTE / (60 * S)), later, near


@given(
    st.integers(0, 2**32),
    st.integers(0, 1_500),
    st.sampled_from([2.0, 30.0, 100.0, 5_000.0]),
    st.floats(0.1, 2.0),
    st.integers(0, 119_000),
)
@example(1, 600, 100.0, 1.0, 119_000)
@example(2, 600, 30.0, 0.5, 119_000)
def test_a_replay_by_hulls_is_that_of_the_steps_one_by_one(
    seed: int, count: int, capacity: float, load: float, since_ms: int
) -> None:
    """Bursts, pauses, and estimates that turn out to be too high; the bucket is full from time to time, or never."""
    rng = Random(seed)  # noqa: S311 - a simulation
    log, charges, now_ns = ChargeLog(), [], 0
    for _ in range(count):
        now_ns += 5 * MS + round(rng.expovariate(1 / (50 * MS))) * (rng.random() < 0.99 or 200)
        units = round(rng.gauss(0.55 * load, 2.0 * load))
        charges.append((now_ns, units))
        log.add(units, now_ns)
    now_ns += rng.randrange(2 * S)
    since_ns = max(0, now_ns - since_ms * MS)
    for remaining in (0, round(capacity / 2), round(capacity)):
        expected = step_by_step(charges, remaining, since_ns, capacity, now_ns)
        replayed = log.replay(remaining, since_ns, PER_MINUTE, capacity, now_ns)
        assert replayed[1:] == expected[1:]
        assert replayed.level == pytest.approx(expected[0], abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_the_hull_of_a_full_block_has_the_lowest_sum_at_any_rate(seed: int) -> None:
    """Slots are up to 2 s apart, and units are given back."""
    rng, block = Random(seed), _Block()  # noqa: S311 - a simulation
    for _ in range(60):
        block.times.append((block.times[-1] if block.times else 0) + rng.randrange(5 * MS, 2 * S))
        block.before.append((block.before[-1] if block.before else 50) + rng.randrange(-20, 40))
    rates = [per_second / S for per_second in (0.1, 3, 8, 9, 10, 11, 12, 15, 40)]
    one_by_one = [block.lowest(0, rate, 200 * S) for rate in rates]
    block.close()
    assert [block.lowest(0, rate, 200 * S) for rate in rates] == pytest.approx(one_by_one)


class TestOverflow:
    """Of a bucket of 100, refilled by 10 a second, since 50 remained at 0 s."""

    @staticmethod
    def overflows(log: ChargeLog, now_ns: int) -> bool:
        return log.overflows(50, 0, PER_MINUTE, CAPACITY, now_ns)

    def test_it_does_when_it_was_full(self, log: ChargeLog) -> None:
        assert [self.overflows(log, second * S) for second in (0, 4, 5, 6)] == [False, False, False, True]

    def test_not_when_it_was_used_in_time(self, log: ChargeLog) -> None:
        log.add(30, 4 * S)
        assert [self.overflows(log, second * S) for second in (6, 8, 9)] == [False, False, True]

    def test_it_does_when_it_was_used_too_late(self, log: ChargeLog) -> None:
        log.add(90, 6 * S)
        assert self.overflows(log, 6 * S)

    def test_less_than_one_unit_may_be_a_rounding_error(self, log: ChargeLog) -> None:
        assert not self.overflows(log, 5 * S + S // 20)
        assert self.overflows(log, 5 * S + S // 20 + MS)
