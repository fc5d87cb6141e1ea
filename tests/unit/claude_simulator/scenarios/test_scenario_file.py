"""Scenario files: their fields, and the errors for invalid ones."""

import tomllib
from pathlib import Path

import pytest

from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.pool_limits import FastLimits, PoolLimits, Refill
from claude_simulator.limits.ramp import RampLimit
from claude_simulator.scenarios.arrivals import Pattern
from claude_simulator.scenarios.distributions import Exponential, LogNormal, Uniform
from claude_simulator.scenarios.latency import LatencyDistribution
from claude_simulator.scenarios.scenario import (
    Change,
    Competitor,
    HeaderOptions,
    HeadersAt,
    Outage,
    Scenario,
    SpendCap,
    SpendCapKind,
)
from claude_simulator.scenarios.scenario_file import load_scenario, scenario_from

LIMITS = "[limits]\nrequests_per_minute = 60\ninput_tokens_per_minute = 6000\noutput_tokens_per_minute = 1200\n"

EVERYTHING = """
[limits]
requests_per_minute = 60
input_tokens_per_minute = 6_000
output_tokens_per_minute = 1_200
enforcement_seconds = 1
refill = "fixed_window"

[limits.claude-opus-5]
requests_per_minute = 30

[[changes]]
at_seconds = 10
requests_per_minute = 30

[[changes]]
at_seconds = 20
output_tokens_per_minute = 600
family = "claude-opus-5"

[[competitors]]
requests_per_minute = 12.5
pattern = "bursts"
burst_requests = 4
patience_seconds = 0
input_tokens = { distribution = "uniform", low = 1, high = 2 }
output_tokens = { distribution = "exponential", mean = 40 }
model = "claude-opus-5"
start_seconds = 5
stop_seconds = 50

[[outages]]
start_seconds = 40
stop_seconds = 60
share = 0.5
status = 503

[fast_limits]
input_tokens_per_minute = 500
output_tokens_per_minute = 100

[ramp]
floor_per_minute = 1000
growth = 1.5
dimension = "input-tokens"

[spend_cap]
usd = 5
usd_per_million_input_tokens = 1
usd_per_million_output_tokens = 5
kind = "own"
stop_seconds = 80

[headers]
visible = false
retry_after_visible = false
at = "admission"
token_rounding = 1

[latency]
first_token_seconds = { distribution = "lognormal", median = 0.8, sigma = 0.3, min = 0.2, max = 5 }
tokens_per_second = 80
"""


def test_every_field_is_read() -> None:
    general = PoolLimits(
        requests_per_minute=60, input_tokens_per_minute=6_000, output_tokens_per_minute=1_200,
        enforcement_seconds=1, refill=Refill.FIXED_WINDOW,
    )  # fmt: skip
    opus = PoolLimits(
        requests_per_minute=30, input_tokens_per_minute=6_000, output_tokens_per_minute=1_200,
        enforcement_seconds=1, refill=Refill.FIXED_WINDOW,
    )  # fmt: skip
    assert scenario_from(tomllib.loads(EVERYTHING)) == Scenario(
        limits=general,
        limits_by_family={"claude-opus-5": opus},
        fast_limits=FastLimits(input_tokens_per_minute=500, output_tokens_per_minute=100),
        changes=(
            Change(at_seconds=10, requests_per_minute=30),
            Change(at_seconds=20, output_tokens_per_minute=600, family="claude-opus-5"),
        ),
        competitors=(
            Competitor(
                requests_per_minute=12.5,
                pattern=Pattern.BURSTS,
                burst_requests=4,
                patience_seconds=0,
                input_tokens=Uniform(low=1, high=2),
                output_tokens=Exponential(mean=40),
                model="claude-opus-5",
                start_seconds=5,
                stop_seconds=50,
            ),
        ),
        outages=(Outage(start_seconds=40, stop_seconds=60, share=0.5, status=503),),
        ramp=RampLimit(floor_per_minute=1_000, growth=1.5, dimension=Dimension.INPUT_TOKENS),
        spend_cap=SpendCap(
            usd=5,
            usd_per_million_input_tokens=1,
            usd_per_million_output_tokens=5,
            kind=SpendCapKind.OWN,
            stop_seconds=80,
        ),
        headers=HeaderOptions(visible=False, retry_after_visible=False, at=HeadersAt.ADMISSION, token_rounding=1),
        latency=LatencyDistribution(
            first_token_seconds=LogNormal(median=0.8, sigma=0.3, min=0.2, max=5), tokens_per_second=80
        ),
    )


def test_an_empty_file_is_the_start_tier_without_events() -> None:
    assert scenario_from({}) == Scenario()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "colour: no such field; allowed are limits, fast_limits, changes, competitors, outages, ramp,"),
        ("limits = 3", "limits: Expected `object`, got `int`"),
        ("[limits]\nrequests_per_minute = 5", "limits: Object missing required field `input_tokens_per_minute`"),
        (f"{LIMITS}rpm = 1", "limits: Object contains unknown field `rpm`; allowed are requests_per_minute, input_"),
        (
            f"{LIMITS}enforcement_seconds = 90",
            "limits.enforcement_seconds: 90.0 was given; a finite number above 0 and up to 60 is allowed",
        ),
        (
            f'{LIMITS}refill = "daily"',
            "limits.refill: Invalid enum value 'daily'; allowed are continuous, fixed_window",
        ),
        (
            f"{LIMITS}[limits.claude-opus-5]\nrequests_per_minute = 0",
            "limits.claude-opus-5.requests_per_minute: 0 was given; a whole number above 0 is allowed",
        ),
        (f"{LIMITS}claude-opus-5 = 4", "limits.claude-opus-5: Expected `object`, got `int`"),
        ("[changes]\nat_seconds = 1", "changes: Expected `array`, got `object`"),
        ('[[changes]]\nat_seconds = "1"', "changes[0].at_seconds: Expected `float`, got `str`"),
        ('[[changes]]\nat_seconds = 1\nfamily = "x"', "changes[0].family: 'x' was given; allowed are claude-"),
        (
            "[[competitors]]\nrequests_per_minute = 1\n[[competitors]]\nrequests_per_minute = -1",
            "competitors[1].requests_per_minute: -1.0 was given; a finite number above 0 is allowed",
        ),
        (
            "[[outages]]\nstart_seconds = 9\nstop_seconds = 8",
            "outages[0].stop_seconds: 8.0 was given; a finite number above 9 is allowed",
        ),
        (
            "[[outages]]\nstart_seconds = 9\nstatus = 200",
            "outages[0].status: 200 was given; 500, 503, 504 or 529 is allowed",
        ),
        (
            "[[outages]]\nstart_seconds = 9\n[[outages]]\nstart_seconds = 12",
            "outages: one that starts at 12 was given; the one before must stop first",
        ),
        ('[headers]\nvisible = "no"', "headers.visible: Expected `bool`, got `str`"),
        (
            '[latency]\ntokens_per_second = "fast"',
            "latency.tokens_per_second: Expected `float | object`, got `str`",
        ),
        ("[latency]\ntokens_per_second = -1", "latency.tokens_per_second: Expected `float` >= 0.0"),
        ("[latency]\ntokens_per_second = inf", "latency.tokens_per_second: Expected `float` <= 1000000000000.0"),
        (
            '[latency]\ntokens_per_second = { distribution = "normal" }',
            "latency.tokens_per_second.distribution: Invalid value 'normal'",
        ),
        (
            '[latency]\ntokens_per_second = { distribution = "lognormal", median = 5 }',
            "latency.tokens_per_second: Object missing required field `sigma`",
        ),
        (
            '[latency]\ntokens_per_second = { distribution = "choice", values = 5 }',
            "latency.tokens_per_second.values: Expected `array`, got `int`",
        ),
        (
            '[latency]\ntokens_per_second = { distribution = "choice", values = [1, -2] }',
            "latency.tokens_per_second.values[1]: Expected `float` >= 0.0",
        ),
        (
            '[latency]\ntokens_per_second = { distribution = "choice", values = [1], weights = [0] }',
            "latency.tokens_per_second.weights[0]: Expected `float` > 0.0",
        ),
    ],
)
def test_an_invalid_field_is_named_with_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - compared below, brackets and all
        scenario_from(tomllib.loads(text))
    assert str(raised.value).startswith(message)


def test_a_family_that_is_not_served_is_named() -> None:
    with pytest.raises(ValueError, match="limits_by_family: 'x' was given; allowed are claude-"):
        Scenario(limits_by_family={"x": Scenario().limits})


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(EVERYTHING)
    assert load_scenario(path).outages[0].status == 503

    path.write_text("limits = ")
    with pytest.raises(ValueError, match=r"scenario\.toml: Invalid value"):
        load_scenario(path)
