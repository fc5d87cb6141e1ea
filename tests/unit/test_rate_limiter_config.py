"""`RateLimitConfig`: documented defaults, environment, and a clear error for each bad value."""

import math
from typing import Any

import pytest

from tidegate.core.domain.dimension import Dimension
from tidegate.core.domain.errors import ConfigurationError
from tidegate.core.domain.pool_settings import AdaptiveSettings, LimitSettings
from tidegate.core.failures.retry_policy import RetryPolicy
from tidegate.rate_limiter import (
    RateLimitConfig,
    RateLimiter,
    get_global_rate_limiter,
    set_global_rate_limiter,
    set_global_rate_limiter_config,
)

BASE_DELAY, MAX_DELAY = "CLAUDE_RATE_LIMIT_DELAY", "MAX_RATE_LIMIT_DELAY"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BASE_DELAY, raising=False)
    monkeypatch.delenv(MAX_DELAY, raising=False)


def test_defaults() -> None:
    config = RateLimitConfig()
    assert (config.requests_per_minute, config.burst_limit) == (20, 5)
    assert (config.base_delay, config.max_delay, config.jitter_factor, config.max_attempts) == (2.0, 30.0, 0.25, 5)
    assert (config.learning_rate, config.adaptive_floor) == (0.1, 0.1)


def test_the_configuration_becomes_pool_settings_and_a_retry_policy() -> None:
    config = RateLimitConfig(15, 3, 3.0, 45.0, 0.3, learning_rate=0.2, adaptive_floor=0.5, max_attempts=4)
    settings = config.pool_settings()
    assert settings.limits == {Dimension.REQUESTS: LimitSettings(15, 3)}
    assert settings.adaptive == AdaptiveSettings(learning_rate=0.2, floor=0.5)
    assert config.retry_policy() == RetryPolicy(4, 3.0, 45.0, 0.3)


class TestEnvironment:
    def test_sets_the_defaults(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(BASE_DELAY, " 1.5 ")
        monkeypatch.setenv(MAX_DELAY, "60")
        config = RateLimitConfig()
        assert (config.base_delay, config.max_delay) == (1.5, 60.0)

    def test_an_argument_goes_before_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(BASE_DELAY, "senseless")
        assert RateLimitConfig(base_delay=3.0).base_delay == 3.0

    def test_empty_is_not_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(BASE_DELAY, " ")
        assert RateLimitConfig().base_delay == 2.0

    @pytest.mark.parametrize("name", [BASE_DELAY, MAX_DELAY])
    @pytest.mark.parametrize("value", ["soon", "2s", "nan", "inf", "-1", "1e9"])
    def test_a_wrong_value_is_named(self, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(ConfigurationError) as raised:
            RateLimitConfig()
        assert str(raised.value) == f"{name}: got '{value}', allowed is a number of seconds, 0 to 3,456,000"


ALLOWED = {
    "requests_per_minute": "a number, 0.001 to 1,000,000,000",
    "burst_limit": "a whole number, 1 to 1,000,000,000",
    "base_delay": "a number of seconds, 0 to 3,456,000",
    "max_delay": "a number of seconds, 0 to 3,456,000",
    "jitter_factor": "0 to 1",
    "learning_rate": "0 to below 1",
    "adaptive_floor": "0.001 to 1",
    "max_attempts": "a whole number, 1 to 1,000",
}
NOT_NUMBERS: list[object] = ["20", None, True, [], 1j]
NOT_FINITE = [math.nan, math.inf, -math.inf, 10**400]
OUTSIDE: dict[str, list[object]] = {
    "requests_per_minute": [0, -1, 1e-300, 0.000_999, 1e10],
    "burst_limit": [0, -5, 0.5, 2.5, 10**10],
    "base_delay": [-0.1],
    "max_delay": [-1],
    "jitter_factor": [-0.1, 1.1],
    "learning_rate": [-0.1, 1, 1.5],
    "adaptive_floor": [0, 1e-300, -0.1, 1.1],
    "max_attempts": [0, -1, 2.5, 10_000],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field in ALLOWED for value in [*OUTSIDE[field], *NOT_NUMBERS, *NOT_FINITE]],
)
def test_a_bad_value_is_named_with_what_is_allowed(field: str, value: Any) -> None:
    arguments: dict[str, Any] = {field: value}
    with pytest.raises(ConfigurationError) as raised:
        RateLimitConfig(**arguments)
    assert (raised.value.field, raised.value.allowed) == (field, ALLOWED[field])
    assert raised.value.given is value


def test_the_longest_delay_is_not_below_the_shortest() -> None:
    with pytest.raises(ConfigurationError, match=r"^max_delay: got 30.0, allowed is at least base_delay \(45.0\)$"):
        RateLimitConfig(base_delay=45.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("requests_per_minute", 0.001),
        ("burst_limit", 1),
        ("base_delay", 0),
        ("max_delay", 2.0),
        ("jitter_factor", 0),
        ("jitter_factor", 1),
        ("learning_rate", 0),
        ("adaptive_floor", 1),
        ("max_attempts", 1),
    ],
)
def test_the_ends_of_each_range_are_allowed(field: str, value: float) -> None:
    arguments: dict[str, Any] = {field: value}
    assert getattr(RateLimitConfig(**arguments), field) == value


class TestGlobal:
    @pytest.fixture(autouse=True)
    def fresh(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tidegate.rate_limiter._global", None)

    def test_there_is_one_for_all(self) -> None:
        assert get_global_rate_limiter() is get_global_rate_limiter()

    def test_the_service_puts_its_own_in_place(self) -> None:
        limiter = RateLimiter()
        set_global_rate_limiter(limiter)
        assert get_global_rate_limiter() is limiter

    def test_configuring_reaches_present_and_future_users(self) -> None:
        limiter = get_global_rate_limiter()
        set_global_rate_limiter_config(RateLimitConfig(requests_per_minute=15))
        assert limiter.config.requests_per_minute == 15
        assert get_global_rate_limiter().get_stats()["current_state"]["requests_per_minute"] == 15

    def test_a_rejected_configuration_changes_nothing(self) -> None:
        before = get_global_rate_limiter().get_stats()
        with pytest.raises(ConfigurationError, match="burst_limit"):
            set_global_rate_limiter_config(RateLimitConfig(requests_per_minute=15, burst_limit=0))
        assert get_global_rate_limiter().get_stats() == before

    def test_a_configuration_that_was_spoilt_afterwards_changes_nothing(self) -> None:
        before = get_global_rate_limiter().get_stats()
        config = RateLimitConfig(requests_per_minute=15)
        config.burst_limit = 0
        with pytest.raises(ConfigurationError, match="burst_limit"):
            set_global_rate_limiter_config(config)
        assert get_global_rate_limiter().get_stats() == before
