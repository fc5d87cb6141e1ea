"""Fast mode: separate limits, headers and prompt cache, and faster output."""

from collections.abc import Callable
from typing import Any

import pytest

from claude_simulator import Latency, PoolLimits
from claude_simulator.limits.pool_limits import FastLimits
from claude_simulator.scenarios.scenario import HeaderOptions, HeadersAt, Scenario
from support.virtual_time import VirtualClock, run_virtual

MakeClient = Callable[..., Any]
FAST = {"model": "claude-opus-5-5", "speed": "fast"}
LONG = [{"role": "user", "content": "Hello " * 200}]
NONE = FastLimits(input_tokens_per_minute=0, output_tokens_per_minute=0)
TIGHT = FastLimits(input_tokens_per_minute=500, output_tokens_per_minute=100)


def test_fast_mode_has_separate_limits_and_headers(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client(fast_limits=TIGHT)
        answered = await client.ask(**FAST, messages=LONG)
        refused = await client.ask(**FAST, messages=LONG)
        standard = await client.ask(model="claude-opus-5-5", messages=LONG)

        assert (answered.status, refused.status, standard.status) == (200, 429, 200)
        told = {name: value for name, value in answered.headers.items() if name.startswith("anthropic-fast-")}
        assert len(told) == 6
        assert told["anthropic-fast-input-tokens-limit"] == "500"
        assert told["anthropic-fast-output-tokens-limit"] == "100"
        assert not any(name.startswith("anthropic-ratelimit-") for name in answered.headers)
        assert "rate limit of 500 fast mode input tokens per minute (model: claude-opus-5-5)" in refused.error()[2]
        assert int(refused.headers["retry-after"]) > 0
        assert standard.headers["anthropic-ratelimit-requests-remaining"] == "999"
        assert not any(name.startswith("anthropic-fast-") for name in standard.headers)

    run_virtual(main(), clock)


@pytest.mark.parametrize("at", HeadersAt)
def test_usage_has_the_speed_and_headers_have_the_limits(
    make_client: MakeClient, clock: VirtualClock, at: HeadersAt
) -> None:
    async def main() -> None:
        client = make_client(scenario=Scenario(headers=HeaderOptions(at=at)))
        fast = await client.ask(**FAST)
        standard = await client.ask(model="claude-opus-5-5", speed="standard")
        silent = await client.ask(model="claude-opus-5-5")

        assert fast.json()["usage"]["speed"] == "fast"
        assert fast.headers["anthropic-fast-output-tokens-limit"] == "40000"
        assert standard.json()["usage"]["speed"] == "standard"
        assert "speed" not in silent.json()["usage"]

    run_virtual(main(), clock)


def test_a_stream_has_the_speed_at_its_start(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        events = (await make_client().ask(**FAST, stream=True)).events()
        assert events[0][1]["message"]["usage"]["speed"] == "fast"

    run_virtual(main(), clock)


def test_output_is_two_and_a_half_times_as_fast(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = make_client(latency=Latency(first_token_seconds=0, per_token_seconds=0.5))
        started_s = clock.elapsed_s
        await client.ask(model="claude-opus-5-5")
        standard_s = clock.elapsed_s - started_s
        await client.ask(**FAST)
        assert clock.elapsed_s - started_s == pytest.approx(standard_s * 1.4)

    run_virtual(main(), clock)


def test_fast_mode_shares_no_cache_entries(make_client: MakeClient, clock: VirtualClock) -> None:
    cached = [{"type": "text", "text": "word " * 4_000, "cache_control": {"type": "ephemeral"}}]
    body = {"model": "claude-opus-5-5", "messages": [{"role": "user", "content": cached}]}

    async def main() -> None:
        client = make_client()
        reads = [
            (await client.ask(**body, **speed)).json()["usage"]["cache_read_input_tokens"] > 0
            for speed in ({}, {"speed": "fast"}, {"speed": "fast"}, {})
        ]
        assert reads == [False, False, True, True]

    run_virtual(main(), clock)


def test_an_account_without_fast_mode_has_a_limit_of_0(make_client: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        answer = await make_client(fast_limits=NONE).ask(**FAST)
        assert answer.status == 429
        assert "rate limit of 0 fast mode input tokens per minute" in answer.error()[2]
        assert answer.headers["anthropic-fast-input-tokens-limit"] == "0"
        assert "retry-after" not in answer.headers

    run_virtual(main(), clock)


@pytest.mark.parametrize(
    ("changes", "status", "part"),
    [
        ({"model": "claude-sonnet-5-5", "speed": "fast"}, 400, "claude-sonnet-5-5 has no fast mode"),
        ({"model": "claude-opus-4-8", "speed": "fast"}, 400, "takes it with anthropic-beta: fast-mode-2026-02-01"),
        (
            {"model": "claude-opus-4-8", "speed": "fast", "headers": {"anthropic-beta": "a,fast-mode-2026-02-01"}},
            200,
            "",
        ),
        (
            {"model": "claude-opus-5-5", "speed": "slow"},
            400,
            "speed: 'slow' was given; 'standard' or 'fast' is allowed",
        ),
        ({"model": "claude-opus-4-6", "speed": "fast"}, 200, '"speed": "standard"'),
    ],
)
def test_models_with_fast_mode(
    make_client: MakeClient, clock: VirtualClock, changes: dict[str, Any], status: int, part: str
) -> None:
    async def main() -> None:
        answer = await make_client().ask(**changes)
        assert answer.status == status
        assert part in answer.body.decode()

    run_virtual(main(), clock)


def test_changes_of_a_scenario_do_not_affect_fast_mode(make_client: MakeClient, clock: VirtualClock) -> None:
    limits = PoolLimits(requests_per_minute=60, input_tokens_per_minute=6_000, output_tokens_per_minute=600)

    async def main() -> None:
        answer = await make_client(scenario=Scenario(limits=limits, fast_limits=TIGHT)).ask(**FAST)
        assert answer.headers["anthropic-fast-input-tokens-limit"] == "500"

    run_virtual(main(), clock)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_tokens_per_minute": -1}, "input_tokens_per_minute: -1 was given"),
        ({"output_tokens_per_minute": 0.5}, "output_tokens_per_minute: 0.5 was given"),
        ({"output_tokens_per_minute": 0}, "one limit of 0 was given; both or neither are allowed"),
    ],
)
def test_invalid_limits_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FastLimits(**changes)
