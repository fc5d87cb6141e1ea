"""The README of the simulator names what there is."""

from dataclasses import fields
from importlib.resources import files

import pytest

from tidegate.simulator import Fault, FaultKind, Latency, SimulatorOptions

NAMES = [
    *FaultKind,
    *(field.name for kind in (Fault, Latency, SimulatorOptions) for field in fields(kind)),
]


@pytest.mark.parametrize("name", NAMES)
def test_every_fault_and_option_is_named(name: str) -> None:
    readme = files("tidegate.simulator").joinpath("README.md").read_text()

    assert f"`{name}`" in readme or f'"{name}"' in readme
