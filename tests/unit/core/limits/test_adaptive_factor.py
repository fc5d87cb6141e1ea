"""The adaptive factor: cut by 429s, brought back by successes, never above 1, never under the floor."""

import pytest

from tidegate.core.domain.pool_settings import AdaptiveSettings
from tidegate.core.limits.adaptive_factor import AdaptiveFactor


def test_a_429_cuts_ten_percent_of_what_is_left() -> None:
    factor = AdaptiveFactor(AdaptiveSettings())
    assert factor.value == 1.0
    assert factor.cut()
    assert factor.value == pytest.approx(0.9)
    assert factor.cut()
    assert factor.value == pytest.approx(0.81)


def test_never_under_the_floor() -> None:
    factor = AdaptiveFactor(AdaptiveSettings(floor=0.5))
    changes = [factor.cut() for _ in range(20)]
    assert factor.value == 0.5
    assert changes == [True] * 7 + [False] * 13


def test_successes_bring_back_a_hundredth_each_up_to_exactly_1() -> None:
    factor = AdaptiveFactor(AdaptiveSettings())
    factor.cut()
    assert factor.grow()
    assert factor.value == pytest.approx(0.91)
    for _ in range(20):
        factor.grow()
    assert factor.value == 1.0
    assert not factor.grow()


def test_a_learning_rate_of_0_switches_adaptation_off() -> None:
    factor = AdaptiveFactor(AdaptiveSettings(learning_rate=0))
    assert not factor.cut()
    assert not factor.grow()
    assert factor.value == 1.0


def test_switching_adaptation_off_returns_to_the_full_rate() -> None:
    factor = AdaptiveFactor(AdaptiveSettings())
    factor.cut()
    factor.configure(AdaptiveSettings(learning_rate=0))
    assert factor.value == 1.0


def test_other_settings_keep_the_factor_and_raise_it_to_their_floor() -> None:
    factor = AdaptiveFactor(AdaptiveSettings())
    factor.cut()
    factor.configure(AdaptiveSettings(learning_rate=0.5, floor=0.2))
    assert factor.value == pytest.approx(0.9)
    factor.cut()
    assert factor.value == pytest.approx(0.45)
    factor.configure(AdaptiveSettings(floor=0.7))
    assert factor.value == 0.7
