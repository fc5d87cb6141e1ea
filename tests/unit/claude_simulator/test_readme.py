"""The README of the simulator names every option, fault and scenario field."""

import re
import tomllib
from dataclasses import fields
from importlib.resources import files

import pytest

from claude_simulator import Fault, FaultKind, Latency, SimulatorOptions
from claude_simulator.limits.pool_limits import FastLimits, PoolLimits
from claude_simulator.limits.ramp import RampLimit
from claude_simulator.scenarios.scenario import Change, Competitor, HeaderOptions, Outage, SpendCap
from claude_simulator.scenarios.scenario_file import scenario_from

README = files("claude_simulator").joinpath("README.md").read_text()
NAMES = [
    *FaultKind,
    *Fault.__struct_fields__,
    *(field.name for kind in (Latency, SimulatorOptions) for field in fields(kind)),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_fault_and_option_is_named(name: str) -> None:
    assert f"`{name}`" in README or f'"{name}"' in README


def test_the_scenario_shown_is_valid_and_has_every_field() -> None:
    text = re.search(r"```toml\n(.*?)```", README, re.DOTALL)
    assert text is not None
    tables = tomllib.loads(text[1])

    assert scenario_from(tables).outages
    for kind, given in (
        (PoolLimits, tables["limits"]),
        (Change, {**tables["changes"][0], "input_tokens_per_minute": 0, "output_tokens_per_minute": 0}),
        (Competitor, tables["competitors"][0]),
        (Outage, tables["outages"][0]),
        (RampLimit, tables["ramp"]),
        (SpendCap, tables["spend_cap"]),
        (HeaderOptions, tables["headers"]),
        (FastLimits, tables["fast_limits"]),
    ):
        assert set(kind.__struct_fields__) <= given.keys()
