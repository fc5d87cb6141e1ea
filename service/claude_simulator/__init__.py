"""A simulated Claude API. See README.md in this folder.

`create_app(SimulatorOptions(...))` is an ASGI application.
"""

from claude_simulator.http.app import create_app
from claude_simulator.limits.limits import FastLimits, PoolLimits
from claude_simulator.options import Clock, SimulatorOptions
from claude_simulator.scenarios.faults import Fault, FaultKind
from claude_simulator.scenarios.latency import NO_LATENCY, Latency
from claude_simulator.scenarios.scenario import Scenario
from claude_simulator.scenarios.scenario_file import load_scenario

__all__ = [
    "NO_LATENCY",
    "Clock",
    "FastLimits",
    "Fault",
    "FaultKind",
    "Latency",
    "PoolLimits",
    "Scenario",
    "SimulatorOptions",
    "create_app",
    "load_scenario",
]
