"""Scenario files: what they may say, and what each mistake in them is told."""

from pathlib import Path

import pytest

from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.limits import FastLimits, PoolLimits, Refill
from claude_simulator.limits.ramp import RampLimit
from claude_simulator.scenarios.arrivals import Pattern
from claude_simulator.scenarios.distributions import Choice, Constant, Exponential, LogNormal, Uniform
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
from claude_simulator.scenarios.scenario_file import load_scenario, parse_scenario
from claude_simulator.scenarios.workload import Lengths, Workload, WorkloadKind

LIMITS = "[limits]\nrequests_per_minute = 60\ninput_tokens_per_minute = 6000\noutput_tokens_per_minute = 1200\n"

EVERYTHING = """
duration_seconds = 90
replicas = 4

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

[lengths]
input_tokens = { distribution = "choice", values = [100, 10_000], weights = [9, 1] }
output_tokens = 300
characters_per_token = 3.1

[[workload]]
name = "flood"
kind = "workers"
workers = 8
weight = 2
model = "claude-opus-5"
think_seconds = 0.5
deadline_seconds = 30
max_tokens = 500
prefix_tokens = 600
input_tokens = 10
output_tokens = 20
start_seconds = 1
stop_seconds = 70

[[workload]]
name = "light"
kind = "poisson"
requests_per_second = 0.5

[[workload]]
name = "once"
kind = "burst"
requests = 200
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
    assert parse_scenario(EVERYTHING) == Scenario(
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
            first_token_seconds=LogNormal(median=0.8, sigma=0.3, min=0.2, max=5), tokens_per_second=Constant(80)
        ),
        lengths=Lengths(
            input_tokens=Choice(values=(100, 10_000), weights=(9, 1)),
            output_tokens=Constant(300),
            characters_per_token=Constant(3.1),
        ),
        workloads=(
            Workload(
                name="flood",
                kind=WorkloadKind.WORKERS,
                workers=8,
                weight=2,
                model="claude-opus-5",
                think_seconds=Constant(0.5),
                deadline_seconds=30,
                max_tokens=500,
                prefix_tokens=600,
                input_tokens=Constant(10),
                output_tokens=Constant(20),
                start_seconds=1,
                stop_seconds=70,
            ),
            Workload(name="light", kind=WorkloadKind.POISSON, requests_per_second=0.5),
            Workload(name="once", kind=WorkloadKind.BURST, requests=200),
        ),
        duration_seconds=90,
        replicas=4,
    )


def test_an_empty_file_is_the_start_tier_with_nothing_happening() -> None:
    assert parse_scenario("") == Scenario()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "colour: no such field; allowed are limits, fast_limits, changes, competitors, outages, ramp,"),
        ("limits = 3", "limits: 3 was given; a table is allowed"),
        ("[limits]\nrequests_per_minute = 5", "limits.input_tokens_per_minute: nothing was given; it is required"),
        (f"{LIMITS}rpm = 1", "limits.rpm: no such field; allowed are requests_per_minute, input_tokens_per_minute,"),
        (
            f"{LIMITS}enforcement_seconds = 90",
            "limits.enforcement_seconds: 90 was given; a finite number above 0 and up to 60 is allowed",
        ),
        (f'{LIMITS}refill = "daily"', "limits.refill: 'daily' was given; 'continuous' or 'fixed_window' is allowed"),
        (
            f"{LIMITS}[limits.claude-opus-5]\nrequests_per_minute = 0",
            "limits.claude-opus-5.requests_per_minute: 0 was given; a whole number above 0 is allowed",
        ),
        (f"{LIMITS}claude-opus-5 = 4", "limits.claude-opus-5: 4 was given; a table is allowed"),
        (
            "[changes]\nat_seconds = 1",
            "changes: {'at_seconds': 1} was given; one or more tables [[changes]]",
        ),
        ('[[changes]]\nat_seconds = "1"', "changes[1].at_seconds: '1' was given; a finite number from 0 is allowed"),
        ('[[changes]]\nat_seconds = 1\nfamily = "x"', "changes[1].family: 'x' was given; allowed are claude-"),
        ("[[changes]]\nat_seconds = 1\nfamily = 1", "changes[1].family: 1 was given; a text that is not empty is"),
        (
            "[[competitors]]\nrequests_per_minute = 1\n[[competitors]]\nrequests_per_minute = -1",
            "competitors[2].requests_per_minute: -1 was given; a finite number above 0 is allowed",
        ),
        (
            "[[outages]]\nstart_seconds = 9\nstop_seconds = 8",
            "outages[1].stop_seconds: 8 was given; a finite number above 9 is allowed",
        ),
        (
            "[[outages]]\nstart_seconds = 9\nstatus = 200",
            "outages[1].status: 200 was given; 500, 503, 504 or 529 is allowed",
        ),
        (
            "[[outages]]\nstart_seconds = 9\n[[outages]]\nstart_seconds = 12",
            "outages: one that starts at 12 was given; the one before must stop first",
        ),
        ('[headers]\nvisible = "no"', "headers.visible: 'no' was given; true or false is allowed"),
        (
            '[latency]\ntokens_per_second = "fast"',
            "latency.tokens_per_second.value: 'fast' was given; a finite number from 0 is allowed",
        ),
        (
            '[latency]\ntokens_per_second = { distribution = "normal" }',
            "latency.tokens_per_second.distribution: 'normal' was given; 'uniform' or 'exponential' or",
        ),
        (
            '[lengths]\ninput_tokens = { distribution = "lognormal", median = 5 }',
            "lengths.input_tokens.sigma: nothing was given; it is required",
        ),
        (
            '[lengths]\ninput_tokens = { distribution = "choice", values = 5 }',
            "lengths.input_tokens.values: 5 was given; a list of numbers is allowed",
        ),
        ('[[workload]]\nkind = "workers"\nworkers = 1', "workload[1].name: nothing was given; it is required"),
        ('[[workload]]\nname = ""\nkind = "burst"', "workload[1].name: '' was given; a text that is not empty is"),
        (
            '[[workload]]\nname = "a"\nkind = "crowd"',
            "workload[1].kind: 'crowd' was given; 'workers' or 'poisson' or 'burst' is allowed",
        ),
        (
            '[[workload]]\nname = "a"\nkind = "burst"\nrequests = 1\n' * 2,
            "workload: the name 'a' was given twice; each caller has one of its own",
        ),
        ("replicas = 0", "replicas: 0 was given; a whole number from 1 is allowed"),
        ("duration_seconds = inf", "duration_seconds: inf was given; a finite number above 0 is allowed"),
    ],
)
def test_each_mistake_names_field_value_and_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - compared below, brackets and all
        parse_scenario(text)
    assert str(raised.value).startswith(message)


def test_a_family_that_is_not_served_is_named() -> None:
    with pytest.raises(ValueError, match="limits_by_family: 'x' was given; allowed are claude-"):
        Scenario(limits_by_family={"x": Scenario().limits})


def test_a_file_names_itself_in_its_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(EVERYTHING)
    assert load_scenario(path).replicas == 4

    path.write_text("replicas = ")
    with pytest.raises(ValueError, match=r"scenario\.toml: Invalid value"):
        load_scenario(path)
