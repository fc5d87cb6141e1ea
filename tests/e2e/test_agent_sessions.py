"""Coding agents through the service: cancelled calls leave nothing behind, and charges agree with the upstream."""

import asyncio
from pathlib import Path

import pytest

from support.agent_session import Outcomes, agents
from support.processes import resident_kb, sockets_of
from support.service_and_simulator import ServiceAndSimulator, service_and_simulator


def work(on: ServiceAndSimulator, turns: int, *, seed: int, early_share: float = 0.5, at_a_time: int = 8) -> Outcomes:
    return asyncio.run(
        agents(on.service.url, number=at_a_time, turns_each=turns // at_a_time, seed=seed, early_share=early_share)
    )


def nothing_is_left(on: ServiceAndSimulator, outcomes: Outcomes) -> None:
    """Check that there are no calls, leases, waiters or connections left, except idle upstream connections."""
    on.comes_to_rest()
    assert set(outcomes.ended) <= {"whole", "left early", "left in the middle"}
    assert not on.metrics("tidegate_oldest_lease_seconds")
    assert not any(on.metrics("tidegate_queue_depth").values())
    outbound = sockets_of(on.service.process.pid).outbound
    assert set(outbound) <= {"established"}
    assert outbound.total() <= outcomes.most_at_a_time


def test_agents_leave_nothing_behind_with_upstream_failures(tmp_path: Path) -> None:
    with service_and_simulator(tmp_path, "rate_limited:count=2", "overloaded:probability=0.02") as on:
        outcomes = work(on, 80, seed=1)
        nothing_is_left(on, outcomes)
        assert min(outcomes.ended.values()) > 20
        assert on.state()["responses_by_status"]["429"] == 2


def test_charges_agree_with_the_upstream(tmp_path: Path) -> None:
    """Also for streams that are cancelled; only output that is produced until the upstream notices is unknown."""
    with service_and_simulator(tmp_path, per_token_seconds=0.004) as on:
        outcomes = work(on, 80, seed=2, early_share=0)
        nothing_is_left(on, outcomes)
        left = outcomes.ended["left in the middle"]
        assert left > 50
        assert on.charged("requests") == on.real("requests") == outcomes.ended.total()
        assert on.charged("input_tokens") == on.real("input_tokens")
        unknown = on.real("output_tokens") - on.charged("output_tokens")
        assert -5 * left < unknown < 20 * left  # of about 75 tokens each, 4 ms a token


@pytest.mark.clients
def test_a_thousand_turns(tmp_path: Path) -> None:
    with service_and_simulator(tmp_path) as on:
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
        # A client that disconnects before the response starts is charged an estimate, if the request was sent.
        assert on.real("requests") <= on.charged("requests") <= min(streams, on.real("requests") + early)
        excess = on.charged("input_tokens") - on.real("input_tokens")
        assert 0 <= excess <= 400 * early
        # A leak of one task or lease per cancelled stream would exceed this.
        assert resident[1] - resident[0] < 5 * 1024
