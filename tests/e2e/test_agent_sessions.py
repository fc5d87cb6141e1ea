"""Coding agents through the real service: whatever they cancel, nothing is left, and the books are the upstream's."""

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support.agent_session import Outcomes, agents
from support.processes import resident_kb, sockets_of
from support.service_process import ServiceProcess, running

SETTLING_SECONDS = 10


@dataclass
class Stage:
    service: ServiceProcess
    simulator: ServiceProcess

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

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx2.get(f"{self.simulator.url}/simulator/state").json()
        return found

    def is_at_rest(self) -> bool:
        """Whether nothing is in flight on either side, and no client's connection is left."""
        in_flight = any(self.metrics("tidegate_in_flight").values()) or self.state()["in_flight"]
        return not in_flight and not sockets_of(self.service.process.pid).inbound

    def comes_to_rest(self) -> None:
        """Waits for that."""
        deadline = time.monotonic() + SETTLING_SECONDS
        while not self.is_at_rest():
            assert time.monotonic() < deadline, (
                self.metrics("tidegate_in_flight"),
                self.state(),
                sockets_of(self.service.process.pid),
            )
            time.sleep(0.05)


@contextmanager
def stage(directory: Path, *faults: str) -> Iterator[Stage]:
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
            "--per-token-seconds=0.0003",
            *(f"--fault={fault}" for fault in faults),
        ) as simulator,
        running(
            places[1],
            "serve",
            ANTHROPIC_API_KEY="any",
            TIDEGATE_UPSTREAM_URL=simulator.url,
            CLAUDE_RATE_LIMIT_DELAY="0.05",
        ) as service,
    ):
        yield Stage(service, simulator)


def work(on: Stage, turns: int, *, seed: int, early_share: float = 0.5, at_a_time: int = 8) -> Outcomes:
    return asyncio.run(
        agents(on.service.url, number=at_a_time, turns_each=turns // at_a_time, seed=seed, early_share=early_share)
    )


def nothing_is_left(on: Stage, outcomes: Outcomes) -> None:
    """Neither calls nor leases nor waiters nor connections, other than those that are kept alive to the upstream."""
    on.comes_to_rest()
    assert set(outcomes.ended) <= {"whole", "left early", "left in the middle"}
    assert not on.metrics("tidegate_oldest_lease_seconds")
    assert not any(on.metrics("tidegate_queue_depth").values())
    outbound = sockets_of(on.service.process.pid).outbound
    assert set(outbound) <= {"established"}
    assert outbound.total() <= outcomes.most_at_a_time


def real(on: Stage, what: str) -> int:
    """What the upstream has charged, in all pools."""
    return sum(pool[what] for pool in on.state()["pools"].values())


def test_agents_leave_nothing_behind_though_the_upstream_fails_now_and_then(tmp_path: Path) -> None:
    with stage(tmp_path, "rate_limited:count=2", "overloaded:probability=0.02") as on:
        outcomes = work(on, 80, seed=1)
        nothing_is_left(on, outcomes)
        assert min(outcomes.ended.values()) > 20
        assert on.state()["answers_by_status"]["429"] == 2


def test_the_books_are_the_upstreams(tmp_path: Path) -> None:
    """Also for streams that end in the middle; only what is produced while a client's leaving gets round is unknown."""
    with stage(tmp_path) as on:
        outcomes = work(on, 80, seed=2, early_share=0)
        nothing_is_left(on, outcomes)
        left = outcomes.ended["left in the middle"]
        assert left > 50
        assert on.charged("requests") == real(on, "requests") == outcomes.ended.total()
        assert on.charged("input_tokens") == real(on, "input_tokens")
        unknown = real(on, "output_tokens") - on.charged("output_tokens")
        assert -5 * left < unknown < 40 * left


@pytest.mark.clients
def test_a_thousand_turns(tmp_path: Path) -> None:
    with stage(tmp_path) as on:
        pid = on.service.process.pid
        halves = []
        resident = []
        for seed in (3, 4):
            halves.append(work(on, 504, seed=seed))
            on.comes_to_rest()
            resident.append(resident_kb(pid))
        for outcomes in halves:
            nothing_is_left(on, outcomes)
        streams = sum(outcomes.ended.total() for outcomes in halves)
        early = sum(outcomes.ended["left early"] for outcomes in halves)
        # Who leaves before the answer begins pays an estimate, where the request had been sent at all.
        assert real(on, "requests") <= on.charged("requests") <= min(streams, real(on, "requests") + early)
        excess = on.charged("input_tokens") - real(on, "input_tokens")
        assert 0 <= excess <= 400 * early
        # A task or a lease that is left behind by each stream that was cancelled would be more.
        assert resident[1] - resident[0] < 5 * 1024
