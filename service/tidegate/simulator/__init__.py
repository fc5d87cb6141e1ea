"""A simulated Claude API: `create_app(SimulatorOptions(...))` is an ASGI application. See README.md in this folder."""

from tidegate.simulator.app import create_app
from tidegate.simulator.faults import Fault, FaultKind
from tidegate.simulator.limits import PoolLimits
from tidegate.simulator.options import NO_LATENCY, Clock, Latency, SimulatorOptions

__all__ = ["NO_LATENCY", "Clock", "Fault", "FaultKind", "Latency", "PoolLimits", "SimulatorOptions", "create_app"]
