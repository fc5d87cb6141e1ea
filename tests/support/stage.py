"""The real service as a process, watched from outside, and a simulator before which it stands."""

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2

from support.processes import sockets_of
from support.service_process import ServiceProcess, running

SETTLING_SECONDS = 10
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass
class Watched:
    """The service as a process.

    Attributes:
        tasks: how many tasks its event loop has while nothing happens.
    """

    service: ServiceProcess
    tasks: float = 0.0

    def metrics(self, name: str) -> dict[str, float]:
        """The samples of a metric by their labels."""
        text = httpx2.get(f"{self.service.url}/metrics").text
        return {
            found[1] or "": float(found[2]) for found in re.finditer(rf"^{name}({{.*?}})? (\S+)$", text, re.MULTILINE)
        }

    def charged(self, dimension: str) -> float:
        """What the service says was charged, in all Messages pools."""
        samples = self.metrics("tidegate_quota_charged_total").items()
        return sum(value for labels, value in samples if f'dimension="{dimension}"' in labels)

    def is_at_rest(self) -> bool:
        """Whether nothing is in flight, and no client's connection and no task of a call is left."""
        in_flight = any(self.metrics("tidegate_in_flight").values()) or self.metrics("tidegate_oldest_lease_seconds")
        return not in_flight and not self.tasks_of_calls() and not sockets_of(self.service.process.pid).inbound

    def tasks_of_calls(self) -> float:
        """Tasks of the event loop beyond those that it always has."""
        (tasks,) = self.metrics("tidegate_event_loop_tasks").values()
        return tasks - self.tasks

    def comes_to_rest(self) -> None:
        """Waits for that."""
        deadline = time.monotonic() + SETTLING_SECONDS
        while not self.is_at_rest():
            assert time.monotonic() < deadline, (
                self.metrics("tidegate_in_flight"),
                self.tasks_of_calls(),
                sockets_of(self.service.process.pid),
            )
            time.sleep(0.05)
        assert set(sockets_of(self.service.process.pid).outbound) <= {"established"}  # kept alive

    def idle_tasks(self) -> float:
        """Counts the tasks of the event loop now, that of the count itself included."""
        (self.tasks,) = self.metrics("tidegate_event_loop_tasks").values()
        return self.tasks


@dataclass
class Stage(Watched):
    """The service before a simulator, both processes."""

    simulator: ServiceProcess = field(kw_only=True)

    def state(self) -> dict[str, Any]:
        """What the simulator has to tell."""
        found: dict[str, Any] = httpx2.get(f"{self.simulator.url}/simulator/state").json()
        return found

    def real(self, what: str) -> int:
        """What the upstream has charged, in all pools."""
        return sum(pool[what] for pool in self.state()["pools"].values())

    def is_at_rest(self) -> bool:
        """Whether nothing is in flight on either side either."""
        return super().is_at_rest() and not self.state()["in_flight"]


@contextmanager
def stage(
    directory: Path,
    *faults: str,
    per_token_seconds: float = 0.0003,
    options: Sequence[str] = (),
    variables: Mapping[str, str] = _NONE,
) -> Iterator[Stage]:
    """Runs both; faults and further options as `tidegate simulator` takes them, variables for the service."""
    places = directory / "simulator", directory / "service"
    for place in places:
        place.mkdir()
    with (
        running(
            places[0],
            "simulator",
            "--requests-per-minute=60000",
            "--input-tokens-per-minute=500000000",
            "--output-tokens-per-minute=50000000",
            "--first-token-seconds=0.01",
            f"--per-token-seconds={per_token_seconds}",
            *(f"--fault={fault}" for fault in faults),
            *options,
        ) as simulator,
        running(
            places[1],
            "serve",
            **{
                "ANTHROPIC_API_KEY": "any",
                "TIDEGATE_UPSTREAM_URL": simulator.url,
                "CLAUDE_RATE_LIMIT_DELAY": "0.05",
                **variables,
            },
        ) as service,
    ):
        on = Stage(service, simulator=simulator)
        on.idle_tasks()
        yield on
