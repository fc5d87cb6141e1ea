"""A simulated Claude API. See README.md in this folder.

`create_app(SimulatorOptions(...))` is an ASGI application; `SimulatedUpstream(scenario, ...)` has no HTTP.
"""

from tidegate.simulator.app import create_app
from tidegate.simulator.faults import Fault, FaultKind
from tidegate.simulator.latency import NO_LATENCY, Latency
from tidegate.simulator.limits import FastLimits, PoolLimits
from tidegate.simulator.options import Clock, SimulatorOptions
from tidegate.simulator.scenario import Scenario
from tidegate.simulator.scenario_file import load_scenario
from tidegate.simulator.upstream_model import SimulatedUpstream

__all__ = [
    "NO_LATENCY",
    "Clock",
    "FastLimits",
    "Fault",
    "FaultKind",
    "Latency",
    "PoolLimits",
    "Scenario",
    "SimulatedUpstream",
    "SimulatorOptions",
    "create_app",
    "load_scenario",
]
