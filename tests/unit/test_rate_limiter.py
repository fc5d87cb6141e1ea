"""`RateLimiter`: the documented older limiter, on the virtual clock."""

import asyncio
import logging
import math
from dataclasses import replace
from typing import Any

import pytest

from support.virtual_time import VirtualClock, run_virtual
from tidegate.core.domain.caller import Caller
from tidegate.core.domain.cause import Cause
from tidegate.core.domain.errors import ConfigurationError, Refusal
from tidegate.core.domain.feedback import RateLimited
from tidegate.core.domain.nanoseconds import NS_PER_SECOND as S
from tidegate.core.domain.pool_settings import RetrySettings
from tidegate.engine.admission import Admission
from tidegate.engine.clock import SystemClock
from tidegate.rate_limiter import RateLimitConfig, RateLimiter
from tidegate.stores.memory import MemoryStore


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def store(clock: VirtualClock) -> MemoryStore:
    return MemoryStore(clock)


@pytest.fixture
def limiter(store: MemoryStore, clock: VirtualClock) -> RateLimiter:
    return RateLimiter(RateLimitConfig(), store=store, admission=Admission(store, clock))


def test_what_another_replica_has_configured_in_the_store_is_adopted(limiter: RateLimiter, store: MemoryStore) -> None:
    other = RateLimitConfig(requests_per_minute=7, burst_limit=2, base_delay=1, max_attempts=3, learning_rate=0.2)
    store.configure_now("default", other.pool_settings(), "ann")
    assert limiter.config == other
    assert limiter.retry_policy() == other.retry_policy()
    assert {limiter.set_at_runtime[name].by for name in ("requests_per_minute", "base_delay")} == {"ann"}
    assert "jitter_factor" not in limiter.set_at_runtime
    assert limiter.get_stats()["configuration"]["max_attempts"] == 3
    limiter.update_config(RateLimitConfig(requests_per_minute=9))
    assert store.settings_now("default") == RateLimitConfig(requests_per_minute=9).pool_settings()


def test_settings_of_the_store_that_are_no_configuration_are_not_adopted(
    limiter: RateLimiter, store: MemoryStore
) -> None:
    before, settings = limiter.config, limiter.config.pool_settings()
    store.configure_now("default", replace(settings, adaptive=None))
    assert limiter.config == before
    store.configure_now(
        "default",
        replace(settings, retries=RetrySettings(5, base_delay_seconds=9, max_delay_seconds=8, jitter_factor=0)),
    )
    assert limiter.config == before


async def acquire_many(limiter: RateLimiter, number: int) -> list[float]:
    return await asyncio.gather(*(limiter.acquire_token() for _ in range(number)))


def state(limiter: RateLimiter) -> dict[str, Any]:
    current: dict[str, Any] = limiter.get_stats()["current_state"]
    return current


def test_twenty_at_once_five_go_then_one_every_three_seconds(limiter: RateLimiter, clock: VirtualClock) -> None:
    assert run_virtual(acquire_many(limiter, 20), clock) == [0.0] * 5 + [3.0 * n for n in range(1, 16)]


def test_a_token_is_charged_at_once_and_held_by_no_lease(
    limiter: RateLimiter, clock: VirtualClock, store: MemoryStore
) -> None:
    run_virtual(acquire_many(limiter, 7), clock)
    assert store.snapshot_now("default")[0].in_flight == 0
    assert state(limiter)["available_tokens"] == 0


def test_consecutive_runs_share_the_limit(limiter: RateLimiter, clock: VirtualClock) -> None:
    run_virtual(acquire_many(limiter, 5), clock)
    assert run_virtual(acquire_many(limiter, 1), clock) == [3.0]


def test_any_minute_admits_at_most_rate_and_burst(limiter: RateLimiter, clock: VirtualClock) -> None:
    times = run_virtual(acquire_many(limiter, 100), clock)
    assert max(sum(start <= other < start + 60 for other in times) for start in times) == 20 + 5 - 1


def test_a_cancelled_wait_takes_nothing(limiter: RateLimiter, clock: VirtualClock) -> None:
    async def main() -> None:
        await acquire_many(limiter, 5)
        waiting = asyncio.get_running_loop().create_task(limiter.acquire_token())
        await asyncio.sleep(1)
        waiting.cancel()
        await asyncio.wait([waiting])

    run_virtual(main(), clock)
    clock.advance(2)
    assert (state(limiter)["available_tokens"], state(limiter)["total_requests"]) == (1, 5)


class TestOnSomebodysAccount:
    def test_waits_in_the_queue_and_reports_the_prediction(self, limiter: RateLimiter, clock: VirtualClock) -> None:
        async def main() -> tuple[float, list[float]]:
            await acquire_many(limiter, 5)
            told: list[float] = []
            return await limiter.acquire_for(
                Caller("ann"), 10 * S, lambda waiting: told.append(waiting.predicted_seconds)
            ), told

        assert run_virtual(main(), clock) == (3.0, [3.0])

    def test_is_refused_when_it_would_take_too_long(self, limiter: RateLimiter, clock: VirtualClock) -> None:
        async def main() -> None:
            await acquire_many(limiter, 5)
            with pytest.raises(Refusal) as refused:
                await limiter.acquire_for(Caller("ann"), S)
            assert refused.value.cause is Cause.DEADLINE

        run_virtual(main(), clock)
        assert clock.elapsed_s == 0


class TestAdaptation:
    def test_a_429_cuts_ten_percent_and_successes_bring_it_back(self, limiter: RateLimiter) -> None:
        limiter.record_rate_limit()
        assert state(limiter)["requests_per_minute"] == 18
        rates = []
        for _ in range(15):
            limiter.record_success()
            rates.append(state(limiter)["requests_per_minute"])
        assert rates == sorted(rates)
        assert (rates[0], rates[-1]) == (pytest.approx(18.2), 20)

    def test_a_rate_never_falls_under_the_floor(self, limiter: RateLimiter) -> None:
        limiter.update_config(RateLimitConfig(adaptive_floor=0.5))
        for _ in range(50):
            limiter.record_rate_limit()
        assert state(limiter)["requests_per_minute"] == 10

    def test_retry_after_stops_admissions_until_then(self, limiter: RateLimiter, clock: VirtualClock) -> None:
        limiter.record_rate_limit(retry_after=7)
        assert state(limiter)["frozen_seconds"] == 7
        assert run_virtual(acquire_many(limiter, 1), clock) == [7.0]

    @pytest.mark.parametrize("retry_after", [-1, math.nan, math.inf, 1e9, "7", True])
    def test_a_senseless_retry_after_changes_nothing(self, limiter: RateLimiter, retry_after: Any) -> None:
        with pytest.raises(ConfigurationError) as raised:
            limiter.record_rate_limit(retry_after)
        assert raised.value.field == "retry_after"
        assert raised.value.allowed == "None, or a number of seconds, 0 to 3,456,000"
        assert state(limiter)["rate_limited_requests"] == 0


class TestConfiguring:
    def test_takes_effect_on_waiters_in_their_order_and_refills_nothing(
        self, limiter: RateLimiter, clock: VirtualClock
    ) -> None:
        async def main() -> list[float]:
            faster = RateLimitConfig(requests_per_minute=60, burst_limit=500)
            asyncio.get_running_loop().call_later(1.5, limiter.update_config, faster)
            return await acquire_many(limiter, 8)

        assert run_virtual(main(), clock) == [0.0] * 5 + [2.0, 3.0, 4.0]

    def test_a_later_change_of_the_config_object_has_no_effect(self, store: MemoryStore, clock: VirtualClock) -> None:
        config = RateLimitConfig()
        limiter = RateLimiter(config, store=store, admission=Admission(store, clock))
        config.requests_per_minute = 1_000
        assert limiter.config.requests_per_minute == 20
        limiter.update_config(config)
        config.max_attempts = 1
        assert (limiter.config.requests_per_minute, limiter.retry_policy().max_attempts) == (1_000, 5)


def test_stats_are_plain_values(limiter: RateLimiter, clock: VirtualClock) -> None:
    run_virtual(acquire_many(limiter, 2), clock)
    limiter.record_success()
    limiter.record_rate_limit()
    assert limiter.get_stats() == {
        "current_state": {
            "available_tokens": 3.0,
            "requests_per_minute": 18.0,
            "total_requests": 2,
            "successful_requests": 1,
            "rate_limited_requests": 1,
            "waiting_requests": 0,
            "frozen_seconds": 0.0,
        },
        "configuration": {
            "requests_per_minute": 20,
            "burst_limit": 5,
            "base_delay": 2.0,
            "max_delay": 30.0,
            "jitter_factor": 0.25,
            "learning_rate": 0.1,
            "adaptive_floor": 0.1,
            "max_attempts": 5,
        },
        "adaptive_metrics": {
            "adaptive_factor": 0.9,
            "configured_requests_per_minute": 20,
            "learning_rate": 0.1,
            "success_count": 1,
            "rate_limit_count": 1,
            "binding": "adaptive",
        },
    }


def test_by_default_it_has_a_store_of_its_own_on_the_real_clock() -> None:
    limiter = RateLimiter()
    assert asyncio.run(limiter.acquire_token()) == 0.0
    assert isinstance(limiter.admission.clock, SystemClock)
    assert state(limiter)["total_requests"] == 1


def test_store_and_admission_belong_together(store: MemoryStore, clock: VirtualClock) -> None:
    for arguments in ({"store": store}, {"admission": Admission(store, clock)}):
        with pytest.raises(TypeError, match="give both or neither"):
            RateLimiter(**arguments)


class TestLog:
    NAME = "services.dsl_generator.rate_limiter"

    def lines(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [record.getMessage() for record in caplog.records if record.name == self.NAME]

    def test_other_pools_are_not_logged(
        self, limiter: RateLimiter, store: MemoryStore, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG, self.NAME):
            store.learn_now("sonnet-5-5", RateLimited(S))
            limiter.record_rate_limit()
        assert self.lines(caplog) == ["rate changed from 20.0 to 18.0 requests/minute: rate_limited"]

    def test_a_freeze(self, limiter: RateLimiter, clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.DEBUG, self.NAME):
            limiter.record_rate_limit(7)
            run_virtual(acquire_many(limiter, 1), clock)
        assert self.lines(caplog) == [
            "frozen for 7.000 s",
            "rate changed from 20.0 to 18.0 requests/minute: rate_limited",
            "acquired a token after 7.000 s",
        ]

    def test_each_acquire_with_its_wait(
        self, limiter: RateLimiter, clock: VirtualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG, self.NAME):
            run_virtual(acquire_many(limiter, 6), clock)
        assert self.lines(caplog) == ["acquired a token after 0.000 s"] * 5 + ["acquired a token after 3.000 s"]

    def test_nothing_unless_asked_for(
        self, limiter: RateLimiter, clock: VirtualClock, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO, self.NAME):
            limiter.record_rate_limit(1)
            run_virtual(acquire_many(limiter, 1), clock)
            limiter.update_config(RateLimitConfig())
        assert self.lines(caplog) == []


class TestReload:
    def test_a_value_set_at_runtime_holds_until_it_changes_in_the_file(
        self, limiter: RateLimiter, store: MemoryStore
    ) -> None:
        limiter.update_config(RateLimitConfig(requests_per_minute=100, burst_limit=9))
        limiter.reload(RateLimitConfig(burst_limit=7))
        assert (limiter.config.requests_per_minute, limiter.config.burst_limit) == (100, 7)
        assert limiter.initial_config == RateLimitConfig(burst_limit=7)
        assert store.settings_now("default") == limiter.config.pool_settings()
        limiter.reload(RateLimitConfig(requests_per_minute=50))
        assert limiter.config == RateLimitConfig(requests_per_minute=50)

    def test_it_counts_for_who_waits(self, limiter: RateLimiter, clock: VirtualClock) -> None:
        async def main() -> list[float]:
            waits = asyncio.gather(acquire_many(limiter, 8))
            await asyncio.sleep(0)
            limiter.reload(RateLimitConfig(requests_per_minute=60))
            return (await waits)[0]

        assert run_virtual(main(), clock) == [0.0] * 5 + [1.0, 2.0, 3.0]

    def test_a_value_that_does_not_fit_those_that_hold_changes_nothing(self, limiter: RateLimiter) -> None:
        limiter.update_config(RateLimitConfig(max_delay=5))
        with pytest.raises(ConfigurationError, match="max_delay: got 5, allowed is at least base_delay"):
            limiter.reload(RateLimitConfig(base_delay=20, requests_per_minute=99))
        assert (limiter.initial_config, limiter.config) == (RateLimitConfig(), RateLimitConfig(max_delay=5))
