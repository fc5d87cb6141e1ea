import asyncio
import os
from collections.abc import Iterator

import pytest

from claude_simulator import NO_LATENCY, SimulatorOptions, create_app
from support.servers import serve
from support.virtual_time import VirtualClock
from tidegate.ai_client import AIClient
from tidegate.core.domain.errors import ConfigurationError
from tidegate.engine.admission import Admission
from tidegate.rate_limiter import RateLimitConfig, RateLimiter
from tidegate.settings import Settings
from tidegate.stores.memory import MemoryStore


@pytest.fixture
def limiter() -> RateLimiter:
    clock = VirtualClock()
    store = MemoryStore(clock)
    return RateLimiter(RateLimitConfig(), store=store, admission=Admission(store, clock))


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith(("ANTHROPIC_", "TIDEGATE_", "CLAUDE_"))]:
        monkeypatch.delenv(name)
    return iter(())


def test_a_missing_key_is_named(limiter: RateLimiter) -> None:
    with pytest.raises(ConfigurationError, match="ANTHROPIC_API_KEY"):
        AIClient(rate_limiter=limiter)


def test_the_key_comes_from_the_environment_too(limiter: RateLimiter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-fake")
    assert AIClient(rate_limiter=limiter).status()["configured"]


@pytest.mark.parametrize("prompt", ["", " \n", "x" * 100_001, 7, None])
def test_prompts_that_cannot_be_sent(limiter: RateLimiter, prompt: str) -> None:
    client = AIClient("sk-fake", rate_limiter=limiter)
    with pytest.raises(ConfigurationError, match=r"^prompt.* a text that is not blank"):
        asyncio.run(client.generate_workflow(prompt))
    assert limiter.get_stats()["current_state"]["total_requests"] == 0


def test_status_names_models_policy_and_counters(limiter: RateLimiter) -> None:
    assert AIClient("sk-fake", settings=Settings(), rate_limiter=limiter).status() == {
        "configured": True,
        "model": "claude-sonnet-5-5",
        "fallback_model": "claude-haiku-5-5",
        "timeout_seconds": 600.0,
        "retry_policy": {
            "max_attempts": 5,
            "base_delay_seconds": 2.0,
            "max_delay_seconds": 30.0,
            "jitter_factor": 0.25,
        },
        "counters": {"attempts": 0, "answers": 0, "retries": 0, "failures": 0},
    }


def test_one_client_works_in_consecutive_event_loops() -> None:
    async def generate(client: AIClient | None) -> AIClient:
        async with serve(create_app(SimulatorOptions(latency=NO_LATENCY))) as url:
            client = client or AIClient("sk-fake", settings=Settings(upstream_url=url), rate_limiter=RateLimiter())
            object.__setattr__(client._settings, "upstream_url", url)
            assert (await client.generate_workflow("Every hour, fetch the news"))["do"]
            await client.aclose()
            await client.aclose()
        return client

    first = asyncio.run(generate(None))
    second = asyncio.run(generate(first))
    assert second.status()["counters"]["answers"] == 2
