"""A simulated Claude API: `create_app(SimulatorOptions(...))` is an ASGI application. See README.md."""

from claude_simulator.http.app import create_app
from claude_simulator.limits.pool_limits import FastLimits, PoolLimits
from claude_simulator.options import Clock, SimulatorOptions
from claude_simulator.scenarios.faults import Fault, FaultKind, fault_from
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
    "fault_from",
    "load_scenario",
]
