"""A quick part of `make bench-goodput`: one seed of each scenario, with wider bounds."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from benchmarks import goodput
from benchmarks.goodput.case import BenchmarkCase
from benchmarks.goodput.clients import CLIENTS, SHARED
from benchmarks.goodput.expectations import Expectations, judge, read_expectations
from benchmarks.goodput.harness import run
from benchmarks.goodput.measurement import measurement_of
from benchmarks.goodput.metrics import Figures, figures
from benchmarks.goodput.scenario import load_scenario

SCENARIOS = Path(next(iter(goodput.__path__))) / "scenarios"
SEED = 1

SLOW = {"competitor_half", "competitor_half_hidden", "competitor_half_shallow", "huge_pool", "ramp_doubles"}
"""Too many calls for a test: only `make bench-goodput` runs them."""

OF_EACH_KIND = {
    "burst_after_idle",
    "burst_of_one_hidden",
    "cache_reads",
    "competitor_tokens",
    "fixed_windows",
    "flood",
    "input_hidden",
    "outage",
    "overload",
    "tiny_pool_hidden",
    "weights",
}
"""Scenarios that `make test` runs; `make test-clients` runs the others."""

SCENARIO_NAMES = [
    pytest.param(name, marks=() if name in OF_EACH_KIND else pytest.mark.clients)
    for name in sorted(read_expectations().keys() - SLOW)
]


@cache
def expectations() -> dict[str, Expectations]:
    return read_expectations()


def measured(name: str, client: str, seed: int, seconds: float | None = None) -> Figures:
    scenario = load_scenario(SCENARIOS / f"{name}.toml")
    if seconds is not None:
        scenario = replace(scenario, duration_seconds=seconds)
    case = BenchmarkCase(name, scenario, configured=expectations().get(name, Expectations()).configured)
    return figures(run(case, client, seed), measurement_of(scenario))


@pytest.mark.parametrize("name", SCENARIO_NAMES)
def test_tidegate_meets_its_bounds(name: str) -> None:
    expected, found = expectations()[name], measured(name, "tidegate", SEED)
    assert found.given_up_per_1000 == 0
    if expected.share is not None:
        assert found.share >= expected.share - 0.02
    if expected.refused_per_1000 is not None:
        assert found.refused_per_1000 <= expected.refused_per_1000 + 5
    if expected.settle_seconds is not None:
        assert found.settle_seconds is not None
        assert found.settle_seconds <= 1.5 * expected.settle_seconds
    if expected.light_p99_seconds is not None:
        assert found.light_p99_seconds is not None
        assert found.light_p99_seconds <= 1.5 * expected.light_p99_seconds
    if expected.makespan is not None:
        assert found.makespan is not None
        assert found.makespan <= expected.makespan + 0.05
    if name == "weights":
        assert found.jain is not None
        assert found.jain >= 0.98


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        ("four_processes_resized", 80),  # in which two processes start and three leave
        pytest.param("four_processes_resized", None, marks=pytest.mark.clients),
        pytest.param("four_processes_faults", None, marks=pytest.mark.clients),
        pytest.param("four_processes_flood", None, marks=pytest.mark.clients),
        pytest.param("four_processes_tokens", None, marks=pytest.mark.clients),
        pytest.param("four_processes_unequal", None, marks=pytest.mark.clients),
    ],
)
def test_processes_that_share_a_log_meet_their_bounds(name: str, seconds: float | None) -> None:
    verdicts = judge(read_expectations(shared=True)[name], [measured(name, SHARED, SEED, seconds)])
    assert [each for each in verdicts if not each.passed] == []


@pytest.mark.parametrize("client", CLIENTS)
def test_the_same_seed_gives_the_same_figures(client: str) -> None:
    once, again = (measured("burst_after_idle", client, 3, seconds=100) for _ in range(2))
    assert once == again


@pytest.mark.parametrize("name", ["competitor", "fixed_windows", "flood", "output_binds", "outage", "ramp"])
def test_the_oracle_is_never_refused_and_uses_the_whole_quota(name: str) -> None:
    found = measured(name, "oracle", 1)
    assert found.refused_per_1000 == 0
    assert found.given_up_per_1000 == 0
    assert found.share >= 0.99


@pytest.mark.parametrize(("name", "largest"), [("burst_after_idle", 1), ("mixed_sizes", 16)])
def test_the_burst_fits_into_the_run(name: str, largest: int) -> None:
    found = measured(name, "oracle", largest)
    assert found.makespan is not None
    assert found.makespan <= 1.01


def test_retries_alone_are_refused_several_times_for_each_answer() -> None:
    assert measured("requests_bind", "sdk", 1).refused_per_1000 > 1_000
