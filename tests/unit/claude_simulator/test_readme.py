"""The README of the simulator names what there is."""

import re
import tomllib
from dataclasses import fields
from importlib.resources import files

import pytest

from claude_simulator import Fault, FaultKind, Latency, SimulatorOptions
from claude_simulator.limits.limits import PoolLimits
from claude_simulator.limits.ramp import RampLimit
from claude_simulator.scenarios.scenario import Change, Competitor, HeaderOptions, Outage, SpendCap
from claude_simulator.scenarios.scenario_file import parse_scenario
from claude_simulator.scenarios.workload import Lengths, Workload

README = files("claude_simulator").joinpath("README.md").read_text()
NAMES = [
    *FaultKind,
    *(field.name for kind in (Fault, Latency, SimulatorOptions) for field in fields(kind)),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_fault_and_option_is_named(name: str) -> None:
    assert f"`{name}`" in README or f'"{name}"' in README


def test_the_scenario_it_shows_is_one_and_uses_every_field() -> None:
    text = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert text is not None
    scenario, tables = parse_scenario(text[1]), tomllib.loads(text[1])

    assert len(scenario.workloads) == 3
    for kind, given in (
        (PoolLimits, tables["limits"]),
        (Change, {**tables["changes"][0], "input_tokens_per_minute": 0, "output_tokens_per_minute": 0}),
        (Competitor, tables["competitors"][0]),
        (Outage, tables["outages"][0]),
        (RampLimit, tables["ramp"]),
        (SpendCap, tables["spend_cap"]),
        (HeaderOptions, tables["headers"]),
        (Lengths, tables["lengths"]),
        (Workload, {key: value for workload in tables["workload"] for key, value in workload.items()}),
    ):
        assert {field.name for field in fields(kind)} <= given.keys()
