"""Invariants of the simulated upstream for all clients and scenarios."""

import random
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.goodput.upstream_model import Accepted, Rejected, SimulatedUpstream
from benchmarks.goodput.workload import RequestShape
from claude_simulator.limits.dimension import Dimension
from claude_simulator.limits.pool_limits import PoolLimits, Refill
from claude_simulator.limits.ramp import RampLimit
from claude_simulator.scenarios.arrivals import Pattern
from claude_simulator.scenarios.latency import Latency
from claude_simulator.scenarios.scenario import Change, Competitor, Outage, Scenario

MODEL = "claude-sonnet-5-5"

limits = st.builds(
    PoolLimits,
    requests_per_minute=st.integers(30, 600),
    input_tokens_per_minute=st.integers(6_000, 60_000),
    output_tokens_per_minute=st.integers(6_000, 60_000),
    enforcement_seconds=st.sampled_from([1.0, 7.5, 60.0]),
    refill=st.sampled_from(Refill),
)


def competitors_up_to(requests_per_minute: float) -> st.SearchStrategy[Competitor]:
    return st.builds(
        Competitor,
        requests_per_minute=st.floats(1, requests_per_minute),
        pattern=st.sampled_from(Pattern),
        burst_requests=st.integers(1, 5),
        input_tokens=st.just(50),
        output_tokens=st.just(20),
        start_seconds=st.floats(0, 60),
    )


scenarios = st.builds(
    Scenario,
    limits=limits,
    changes=st.lists(st.builds(Change, at_seconds=st.floats(0, 60), requests_per_minute=st.integers(30, 600))).map(
        tuple
    ),
    competitors=st.lists(competitors_up_to(60), max_size=2).map(tuple),
    outages=st.sampled_from([(), (Outage(start_seconds=20, stop_seconds=30),)]),
    ramp=st.sampled_from([None, RampLimit(floor_per_minute=40, growth=1.5)]),
    latency=st.builds(Latency, first_token_seconds=st.floats(0, 3), per_token_seconds=st.floats(0, 0.05)),
)
requests = st.builds(
    RequestShape,
    model=st.just(MODEL),
    input_tokens=st.integers(1, 500),
    output_tokens=st.integers(1, 300),
    characters_per_token=st.floats(2, 6),
)
plans = st.lists(st.tuples(st.floats(0, 4), requests), min_size=1, max_size=60)


def seeded(seed: int = 1) -> random.Random:
    return random.Random(seed)  # noqa: S311 - repeats on purpose


@given(scenario=scenarios, plan=plans)
def test_no_client_is_charged_more_than_was_attainable(
    scenario: Scenario, plan: list[tuple[float, RequestShape]]
) -> None:
    """Requests exceed it by no more than the debt of patient competitors; output is never more than requested."""
    upstream = SimulatedUpstream(scenario, seeded(), 0)
    now = 0.0
    for wait, request in plan:
        now += wait
        upstream.attempt(request, now)
        attainable, charged = upstream.attainable(MODEL, now), upstream.charged(MODEL, now)
        if scenario.ramp is None:  # its bound is exact at whole minutes only
            debt = 10 * sum(competitor.patience_seconds for competitor in scenario.competitors) + 1e-6
            assert charged[Dimension.REQUESTS] <= attainable[Dimension.REQUESTS] + debt
        for dimension, view in upstream.view(MODEL, now).items():
            assert view.level <= view.capacity, dimension
    total = sum(request.output_tokens for _, request in plan)
    assert upstream.charged(MODEL, now + 1_000)[Dimension.OUTPUT_TOKENS] <= total + 1e-6


@given(scenario=scenarios, plan=plans, looks=st.lists(st.floats(0, 200), max_size=10))
def test_reading_the_state_changes_nothing(
    scenario: Scenario, plan: list[tuple[float, RequestShape]], looks: list[float]
) -> None:
    def run(*, looking: bool) -> list[Any]:
        upstream, now, seen = SimulatedUpstream(scenario, seeded(), 0), 0.0, []
        for wait, request in plan:
            for look in sorted(look for look in looks if looking and now < look < now + wait):
                upstream.view(MODEL, look)
                upstream.seconds_until_fits(request, look)
                upstream.attainable(MODEL, look)
            now += wait
            outcome = upstream.attempt(request, now)
            seen.append(outcome.status if isinstance(outcome, Rejected) else 200)
        return seen

    assert run(looking=True) == run(looking=False)


@given(scenario=scenarios, plan=plans)
def test_a_request_is_admitted_exactly_when_its_wait_is_zero(
    scenario: Scenario, plan: list[tuple[float, RequestShape]]
) -> None:
    """Competitors may use all refill; then the client stops after 100 attempts."""
    upstream, now = SimulatedUpstream(scenario, seeded(), 0), 0.0
    for wait, request in plan:
        now += wait
        for _ in range(100):
            seconds = upstream.seconds_until_fits(request, now)
            outcome = upstream.attempt(request, now)
            assert isinstance(outcome, Accepted) == (seconds == 0)
            if seconds == 0:
                break
            now += max(seconds, 1e-9)


@given(scenario=scenarios, others=st.lists(competitors_up_to(12), max_size=2).map(tuple), plan=plans)
def test_a_client_that_waits_as_told_is_admitted_if_competitors_leave_quota(
    scenario: Scenario, others: tuple[Competitor, ...], plan: list[tuple[float, RequestShape]]
) -> None:
    upstream, now = SimulatedUpstream(replace(scenario, competitors=others), seeded(), 0), 0.0
    for wait, request in plan:
        now += wait
        waits = 0
        while (seconds := upstream.seconds_until_fits(request, now)) > 0:
            now += max(seconds, 1e-9)
            waits += 1
            assert waits < 5_000
        assert isinstance(upstream.attempt(request, now), Accepted)
