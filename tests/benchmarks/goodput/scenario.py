"""Scenarios of the benchmark: a scenario of the simulator, and the load on it."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from benchmarks.goodput.log_network import LogNetwork
from benchmarks.goodput.workload import Lengths, Workload
from claude_simulator.checks import decode, require_number
from claude_simulator.scenarios.scenario import Scenario
from claude_simulator.scenarios.scenario_file import scenario_from


class Resize(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From `at_seconds` on there are so many processes: the newest start, or the oldest leave.

    Raises:
        ValueError: A value is outside its range; the message names field, value and range.
    """

    at_seconds: float
    replicas: int

    def __post_init__(self) -> None:
        require_number(self, "at_seconds", above=0)
        require_number(self, "replicas", least=1, whole=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadScenario:
    """A simulated upstream under load.

    Args:
        upstream: What the simulated API does.
        workloads: The callers.
        lengths: Sizes of requests of workloads that have none of their own.
        duration_seconds: How long it lasts.
        replicas: How many processes share the key at the start.
        resizes: Changes of their number, in order.
        log: The network between processes that share a log, and its server.

    Raises:
        ValueError: A value is outside its range, or two workloads have the same name.
    """

    upstream: Scenario = field(default=Scenario())
    workloads: tuple[Workload, ...] = ()
    lengths: Lengths = field(default=Lengths())
    duration_seconds: float = 120.0
    replicas: int = 1
    resizes: tuple[Resize, ...] = ()
    log: LogNetwork = field(default=LogNetwork())

    def __post_init__(self) -> None:
        require_number(self, "duration_seconds", above=0)
        require_number(self, "replicas", least=1, whole=True)
        names = [workload.name for workload in self.workloads]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"workload: the name {name!r} was given twice; each caller needs its own")


_FIELDS: Final[dict[str, tuple[str, Any]]] = {
    "workload": ("workloads", tuple[Workload, ...]),
    "lengths": ("lengths", Lengths),
    "duration_seconds": ("duration_seconds", float),
    "replicas": ("replicas", int),
    "resize": ("resizes", tuple[Resize, ...]),
    "log": ("log", LogNetwork),
}
"""By key in the file: the field and its type. All other keys describe the upstream."""


def load_scenario(path: Path) -> LoadScenario:
    """Read the scenario in a TOML file. README.md of this folder describes the keys.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not TOML, or a field is unknown, missing or outside its range. The message names the file.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        upstream = scenario_from({key: value for key, value in document.items() if key not in _FIELDS})
        values = {name: decode(document[key], kind, key) for key, (name, kind) in _FIELDS.items() if key in document}
        return LoadScenario(upstream=upstream, **values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
