"""The application under a scenario: its effects on HTTP responses."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from claude_simulator import Latency, PoolLimits, Scenario, SimulatorOptions
from claude_simulator.limits.ramp import RampLimit
from claude_simulator.scenarios.latency import NO_LATENCY, LatencyDistribution
from claude_simulator.scenarios.scenario import (
    Change,
    Competitor,
    HeaderOptions,
    HeadersAt,
    Outage,
    SpendCap,
    SpendCapKind,
)
from support.virtual_time import VirtualClock, run_virtual
from tidegate.cli.commands import commands

MakeClient = Callable[..., Any]
LIMITS = PoolLimits(requests_per_minute=60, input_tokens_per_minute=60_000, output_tokens_per_minute=60_000)


@pytest.fixture
def client_of(make_client: MakeClient) -> MakeClient:
    """A factory of clients of a simulator under a scenario."""

    def make(**changes: Any) -> Any:
        return make_client(scenario=Scenario(**{"limits": LIMITS, "latency": NO_LATENCY, **changes}))

    return make


def left(answer: Any) -> str:
    return str(answer.headers["anthropic-ratelimit-requests-remaining"])


def test_limits_change_and_competitors_use_quota(client_of: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        competitor = Competitor(
            requests_per_minute=120, input_tokens=1, start_seconds=5, stop_seconds=10, model="claude-opus-5"
        )
        client = client_of(changes=(Change(at_seconds=10, requests_per_minute=30),), competitors=(competitor,))
        assert left(await client.ask(model="claude-opus-5")) == "59"

        clock.advance(10)
        answer = await client.ask(model="claude-opus-5")
        assert answer.headers["anthropic-ratelimit-requests-limit"] == "30"
        assert int(left(answer)) <= 29
        assert left(await client.ask()) == "29"
        assert (await client.state())["pools"]["claude-opus-5"]["requests"] == 2

    run_virtual(main(), clock)


def test_latency_is_drawn_from_the_scenario(client_of: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        latency = LatencyDistribution(first_token_seconds=3, tokens_per_second=0)
        await client_of(latency=latency).ask()
        assert clock.elapsed_s == 3

    run_virtual(main(), clock)


@pytest.mark.parametrize(
    ("status", "error_type"),
    [(500, "api_error"), (503, "api_error"), (504, "timeout_error"), (529, "overloaded_error")],
)
def test_an_outage_responds_with_its_status(
    client_of: MakeClient, clock: VirtualClock, status: int, error_type: str
) -> None:
    async def main() -> None:
        client = client_of(outages=(Outage(start_seconds=0, stop_seconds=5, status=status),))
        refused = await client.ask()
        assert refused.error()[:2] == (status, error_type)
        assert "retry-after" not in refused.headers

        clock.advance(5)
        assert (await client.ask()).status == 200

    run_virtual(main(), clock)


@pytest.mark.parametrize(
    ("kind", "status", "error_type", "error_code"),
    [
        (SpendCapKind.TIER, 429, "rate_limit_error", "enforced_spend_limit_reached"),
        (SpendCapKind.CONTRACT, 429, "rate_limit_error", "contract_spend_limit_reached"),
        (SpendCapKind.OWN, 400, "invalid_request_error", None),
    ],
)
def test_a_spend_cap_names_the_first_of_the_next_month(
    client_of: MakeClient,
    clock: VirtualClock,
    kind: SpendCapKind,
    status: int,
    error_type: str,
    error_code: str | None,
) -> None:
    async def main() -> None:
        refused = await client_of(spend_cap=SpendCap(usd=0, kind=kind)).ask()

        assert refused.error()[:2] == (status, error_type)
        assert refused.error()[2].endswith("You will regain access on 2026-12-01 at 00:00 UTC.")
        assert refused.json()["error"].get("details", {}).get("error_code") == error_code
        assert "retry-after" not in refused.headers
        assert "x-should-retry" not in refused.headers

    run_virtual(main(), clock)


def test_a_ramp_limit_has_its_own_code(client_of: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        client = client_of(ramp=RampLimit(floor_per_minute=2, growth=2))
        assert [(await client.ask()).status for _ in range(2)] == [200, 200]
        refused = await client.ask()

        assert refused.status == 429
        assert refused.json()["error"]["details"] == {"error_code": "ramp_limit_exceeded"}
        assert refused.headers["retry-after"] == "60"

    run_virtual(main(), clock)


def test_headers_can_be_hidden_and_describe_the_admission(client_of: MakeClient, clock: VirtualClock) -> None:
    async def main() -> None:
        ramp = RampLimit(floor_per_minute=1, growth=1)
        hidden = client_of(headers=HeaderOptions(visible=False, retry_after_visible=False), ramp=ramp)
        for answer in (await hidden.ask(), await hidden.ask()):
            assert not [name for name in answer.headers if name.startswith("anthropic-ratelimit-")]
            assert "retry-after" not in answer.headers

        slow = Latency(first_token_seconds=1, per_token_seconds=0)
        for at, requests_left in ((HeadersAt.ADMISSION, ["59", "58"]), (HeadersAt.HEAD, ["59", "59"])):
            client = client_of(headers=HeaderOptions(at=at), latency=slow)
            answers = await asyncio.gather(client.ask(stream=True), client.ask(stream=True))
            assert [left(answer) for answer in answers] == requests_left

    run_virtual(main(), clock)


def test_options_and_scenario_describe_the_same_limits() -> None:
    options = SimulatorOptions(limits=LIMITS, latency=NO_LATENCY, limits_by_family={})

    assert options.effective_scenario() == Scenario(limits=LIMITS, latency=NO_LATENCY)


def test_the_command_reports_an_invalid_scenario_file(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text("[headers]\ntoken_rounding = 0")
    runner = CliRunner(env={"COLUMNS": "1000"})  # a box of the usual width breaks a long path
    wrong = runner.invoke(commands, ["simulator", "--scenario", str(path)])
    missing = runner.invoke(commands, ["simulator", "--scenario", str(tmp_path / "none.toml")])

    assert (wrong.exit_code, missing.exit_code) == (2, 2)
    assert "headers.token_rounding: 0 was given; a whole number from 1 is allowed" in wrong.output
    assert "none.toml" in missing.output
