"""The service and a simulator as processes, and their metrics and state."""

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
class WatchedService:
    """The service as a process, with its metrics.

    Attributes:
        tasks: Number of tasks of its event loop when idle.
    """

    service: ServiceProcess
    tasks: float = 0.0

    def metrics(self, name: str) -> dict[str, float]:
        """Samples of a metric by labels."""
        text = httpx2.get(f"{self.service.url}/metrics").text
        return {
            found[1] or "": float(found[2]) for found in re.finditer(rf"^{name}({{.*?}})? (\S+)$", text, re.MULTILINE)
        }

    def charged(self, dimension: str) -> float:
        """Total charged by the service, over all Messages pools."""
        samples = self.metrics("tidegate_quota_charged_total").items()
        return sum(value for labels, value in samples if f'dimension="{dimension}"' in labels)

    def is_at_rest(self) -> bool:
        """Whether there are no requests in flight, no client connections and no tasks of calls."""
        in_flight = any(self.metrics("tidegate_in_flight").values()) or self.metrics("tidegate_oldest_lease_seconds")
        return not in_flight and not self.tasks_of_calls() and not sockets_of(self.service.process.pid).inbound

    def tasks_of_calls(self) -> float:
        """Tasks of the event loop in addition to the idle ones."""
        (tasks,) = self.metrics("tidegate_event_loop_tasks").values()
        return tasks - self.tasks

    def comes_to_rest(self) -> None:
        """Wait until it is at rest."""
        deadline = time.monotonic() + SETTLING_SECONDS
        while not self.is_at_rest():
            assert time.monotonic() < deadline, (
                self.metrics("tidegate_in_flight"),
                self.tasks_of_calls(),
                sockets_of(self.service.process.pid),
            )
            time.sleep(0.05)
        assert set(sockets_of(self.service.process.pid).outbound) <= {"established"}  # keep-alive

    def idle_tasks(self) -> float:
        """Count the idle tasks of the event loop, including the one that counts."""
        (self.tasks,) = self.metrics("tidegate_event_loop_tasks").values()
        return self.tasks


@dataclass
class ServiceAndSimulator(WatchedService):
    """The service with a simulator, both as processes."""

    simulator: ServiceProcess = field(kw_only=True)

    def state(self) -> dict[str, Any]:
        """The state of the simulator."""
        found: dict[str, Any] = httpx2.get(f"{self.simulator.url}/simulator/state").json()
        return found

    def real(self, what: str) -> int:
        """Total charged by the upstream, over all pools."""
        return sum(pool[what] for pool in self.state()["pools"].values())

    def is_at_rest(self) -> bool:
        """Whether both sides are at rest."""
        return super().is_at_rest() and not self.state()["in_flight"]


@contextmanager
def service_and_simulator(
    directory: Path,
    *faults: str,
    per_token_seconds: float = 0.0003,
    options: Sequence[str] = (),
    variables: Mapping[str, str] = _NONE,
) -> Iterator[ServiceAndSimulator]:
    """Run both, with faults and options for `tidegate simulator`, and environment variables for the service."""
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
        on = ServiceAndSimulator(service, simulator=simulator)
        on.idle_tasks()
        yield on
