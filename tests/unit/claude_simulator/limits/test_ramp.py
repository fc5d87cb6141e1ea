"""Acceleration limits, compared with a trace computed by hand and with a simpler implementation."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.ramp import RampLimit, RampMeter

LIMIT = RampLimit(floor_per_minute=10, growth=2)


def test_growth_by_hand() -> None:
    """10 in the first minute (the floor), then twice that, then twice that again."""
    meter = RampMeter(LIMIT, 0)
    for second in range(10):
        assert meter.seconds_until_fits(1, second) == 0
        meter.record(1, second)

    assert meter.seconds_until_fits(1, 9.5) == 50.5  # at 60 the use of second 0 leaves the last minute
    assert meter.allowed_per_minute(9.5) == 10
    assert meter.allowed_per_minute(69) == 20  # all ten are in the minute before
    meter.record(20, 69)
    assert meter.seconds_until_fits(1, 69) == 60  # at 129
    assert meter.room(129) == 40


def test_after_two_idle_minutes_the_floor_applies() -> None:
    meter = RampMeter(LIMIT, 0)
    meter.record(10, 0)
    meter.record(20, 60)

    assert meter.allowed_per_minute(119) == 20
    assert meter.allowed_per_minute(120) == 40
    assert meter.allowed_per_minute(180) == 10
    assert meter.allowed_per_minute(10_000) == 10


def test_an_amount_above_the_limit_waits_for_an_idle_minute() -> None:
    meter = RampMeter(LIMIT, 0)
    meter.record(10, 0.5)

    assert meter.seconds_until_fits(1_000, 0.5) == 59.5
    assert meter.seconds_until_fits(1_000, 60) == 0


def test_a_correction_reduces_the_usage() -> None:
    meter = RampMeter(LIMIT, 0)
    meter.record(10, 3)
    meter.record(-4, 5)

    assert meter.seconds_until_fits(4, 5) == 0
    assert meter.seconds_until_fits(5, 5) > 0


@given(
    uses=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 15)), max_size=40),
    amount=st.integers(1, 40),
    growth=st.sampled_from([0.5, 1.0, 1.5, 3.0]),
)
def test_the_wait_ends_at_the_first_second_that_a_recount_allows(
    uses: list[tuple[int, int]], amount: int, growth: float
) -> None:
    meter, now, used = RampMeter(RampLimit(floor_per_minute=10, growth=growth), 0), 0, [0] * 4_000
    for wait, use in uses:
        now += wait
        used[now] += use
        meter.record(use, now)

    def fits(second: int) -> bool:
        last = sum(used[max(0, second - 59) : second + 1])
        before = sum(used[max(0, second - 119) : max(0, second - 59)])
        return last == 0 or last + amount <= max(10, growth * before)

    expected = next(second for second in range(now, now + 61) if fits(second))
    assert meter.seconds_until_fits(amount, now) == expected - now
    assert meter.seconds_until_fits(amount, now + 0.25) == max(0, expected - now - 0.25)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"floor_per_minute": 0}, "floor_per_minute: 0 was given; a finite number above 0 is allowed"),
        ({"growth": math.inf}, "growth: inf was given; a finite number above 0 is allowed"),
        (
            {"dimension": Dimension.OUTPUT_TOKENS},
            "dimension: 'output-tokens' was given; 'requests' or 'input-tokens' is allowed",
        ),
    ],
)
def test_an_invalid_limit_is_named(changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RampLimit(**{"floor_per_minute": 10, "growth": 2, **changes})  # type: ignore[arg-type]  # on purpose
