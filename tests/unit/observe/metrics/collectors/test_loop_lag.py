import asyncio
import contextlib

from prometheus_client import CollectorRegistry

from support.virtual_time import VirtualClock, run_virtual
from tidegate.observe.metrics.collectors.loop_lag import measure_loop_lag


def lags_in_one_second(stall_seconds: float) -> CollectorRegistry:
    """One second on a virtual loop that is blocked once, 50 ms in."""
    registry, clock = CollectorRegistry(), VirtualClock()

    async def main() -> None:
        asyncio.get_running_loop().call_later(0.05, clock.advance, stall_seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await measure_loop_lag(registry, clock)

    run_virtual(main(), clock)
    return registry


def bucket(registry: CollectorRegistry, bound: str) -> float | None:
    return registry.get_sample_value("tidegate_event_loop_lag_seconds_bucket", {"le": bound})


def test_an_idle_loop_is_never_late() -> None:
    registry = lags_in_one_second(0)
    assert bucket(registry, "0.001") == bucket(registry, "+Inf")


def test_a_stall_is_seen_by_the_timer_that_it_delays() -> None:
    registry = lags_in_one_second(0.4)
    late = (bucket(registry, "+Inf") or 0) - (bucket(registry, "0.25") or 0)
    assert late == 1


def test_it_exists_at_zero_from_the_start() -> None:
    assert bucket(lags_in_one_second(0), "5.0") is not None
