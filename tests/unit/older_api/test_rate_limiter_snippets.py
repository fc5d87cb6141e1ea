"""The snippets of the older module's documentation that use the rate limiter, word for word."""

import ast
import asyncio
import inspect
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from support.virtual_time import VirtualClock, run_virtual
from tidegate import rate_limiter
from tidegate.engine.admission import Admission
from tidegate.rate_limiter import RateLimiter, get_global_rate_limiter, set_global_rate_limiter
from tidegate.stores.memory import MemoryStore

PROGRAMMATIC_CONFIGURATION = """
from services.dsl_generator.rate_limiter import RateLimitConfig, set_global_rate_limiter_config

# Configure rate limiting
config = RateLimitConfig(
    requests_per_minute=15,    # 15 requests per minute
    burst_limit=3,             # Allow burst of 3 requests
    base_delay=3.0,           # 3 seconds base delay
    max_delay=45.0,           # 45 seconds maximum delay
    jitter_factor=0.3         # ±30% random variation
)

set_global_rate_limiter_config(config)
"""

ADVANCED_USAGE = """
from services.dsl_generator.rate_limiter import get_global_rate_limiter

# Get rate limiter instance
rate_limiter = get_global_rate_limiter()

# Wait for token before making request
await rate_limiter.acquire_token()

# Make your request here
# ...

# Record success/failure for adaptive learning
rate_limiter.record_success()  # or record_rate_limit()
"""

PROGRAMMATIC_MONITORING = """
from services.dsl_generator.rate_limiter import get_global_rate_limiter

rate_limiter = get_global_rate_limiter()
stats = rate_limiter.get_stats()

print(f"Available tokens: {stats['current_state']['available_tokens']}")
print(f"Total requests: {stats['current_state']['total_requests']}")
print(f"Rate limited requests: {stats['current_state']['rate_limited_requests']}")
print(f"Current rate: {stats['current_state']['requests_per_minute']} requests/minute")
"""

DEBUG_MODE = """
import logging
logging.getLogger('services.dsl_generator.rate_limiter').setLevel(logging.DEBUG)
logging.getLogger('services.dsl_generator.ai_client').setLevel(logging.DEBUG)
"""


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture(autouse=True)
def fresh_globals(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A global limiter of this test alone, on the virtual clock; logging as it was afterwards."""
    monkeypatch.delenv("CLAUDE_RATE_LIMIT_DELAY", raising=False)
    monkeypatch.delenv("MAX_RATE_LIMIT_DELAY", raising=False)
    monkeypatch.setattr(rate_limiter, "_global", None)
    store = MemoryStore(clock)
    set_global_rate_limiter(RateLimiter(store=store, admission=Admission(store, clock)))
    loggers = [logging.getLogger(f"services.dsl_generator.{name}") for name in ("rate_limiter", "ai_client")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def run(snippet: str, clock: VirtualClock) -> dict[str, Any]:
    """Runs a snippet as in a notebook, where `await` is allowed anywhere; what it defined."""
    names: dict[str, Any] = {}
    code = compile(snippet, "<older documentation>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waiting = eval(code, names)  # noqa: S307  # our own literals
    if inspect.iscoroutine(waiting):
        run_virtual(waiting, clock)
    return names


def test_programmatic_configuration(clock: VirtualClock) -> None:
    run(PROGRAMMATIC_CONFIGURATION, clock)
    configuration = get_global_rate_limiter().get_stats()["configuration"]
    assert configuration == {
        "requests_per_minute": 15,
        "burst_limit": 3,
        "base_delay": 3.0,
        "max_delay": 45.0,
        "jitter_factor": 0.3,
        "learning_rate": 0.1,
        "adaptive_floor": 0.1,
        "max_attempts": 5,
    }


def test_advanced_usage(clock: VirtualClock) -> None:
    for _ in range(6):
        run(ADVANCED_USAGE, clock)
    assert clock.elapsed_s == 3.0, "five at once, the sixth after 3 s"
    state = get_global_rate_limiter().get_stats()["current_state"]
    assert (state["total_requests"], state["successful_requests"]) == (6, 6)


def test_programmatic_monitoring(clock: VirtualClock, capsys: pytest.CaptureFixture[str]) -> None:
    run(ADVANCED_USAGE, clock)
    get_global_rate_limiter().record_rate_limit(retry_after=2)
    run(PROGRAMMATIC_MONITORING, clock)
    assert capsys.readouterr().out.splitlines() == [
        "Available tokens: 4.0",
        "Total requests: 1",
        "Rate limited requests: 1",
        "Current rate: 18.0 requests/minute",
    ]


def test_debug_mode(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    run(DEBUG_MODE, clock)
    limiter = get_global_rate_limiter()
    limiter.record_rate_limit(retry_after=2)
    run(ADVANCED_USAGE, clock)
    run(PROGRAMMATIC_CONFIGURATION, clock)
    assert [record.getMessage() for record in caplog.records if record.name.endswith("rate_limiter")] == [
        "frozen for 2.000 s",
        "rate changed from 20.0 to 18.0 requests/minute: rate_limited",
        "acquired a token after 2.000 s",
        "rate changed from 18.0 to 18.2 requests/minute: succeeded",
        "rate changed from 18.2 to 13.7 requests/minute: configured",
        "configured: 15 requests/minute, burst 3",
    ]


def test_the_synchronous_calls_need_no_loop() -> None:
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()
    limiter = get_global_rate_limiter()
    limiter.record_rate_limit()
    limiter.record_success()
    assert limiter.get_stats()["current_state"]["requests_per_minute"] == pytest.approx(18.2)
