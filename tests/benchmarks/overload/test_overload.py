"""The figures of the benchmark, and a short run without a bound on time."""

from pathlib import Path

import pytest

from benchmarks.overload.__main__ import bounds
from benchmarks.overload.measure import Overload, Phase, Plan, measure


def phase(goodput: float, slowest: float = 0.01) -> Phase:
    return Phase(60, goodput, 10, 0.1, {"/healthz": [0.001, slowest], "/metrics": [slowest]}, [0.001])


def missed(found: Overload) -> list[str]:
    return [bound.what for bound in bounds(found) if not bound.is_met]


def test_each_figure_is_held_to_its_bound() -> None:
    good = Overload([phase(50), phase(49)], [], 0, [200], [(1, 1)])
    assert missed(good) == []
    bad = Overload([phase(50), phase(48, 0.2)], ["a 504"], 0, [200, 429], [(1, 1)])
    assert missed(bad) == [
        "goodput, overloaded / calm",
        "/healthz, slowest, ms",
        "/metrics, slowest, ms",
        "failed calls",
        "share of refused clients that succeed after retry-after",
    ]


@pytest.mark.clients
def test_calls_under_overload_succeed_or_are_told_when_to_return(tmp_path: Path) -> None:
    """Without time kept for responses, every admitted call would be too late, whatever the machine."""
    found = measure(tmp_path, Plan(rates=(150,), seconds=1.5, timeouts=(3.0, 4.0), settle_seconds=3))
    (overloaded,) = found.phases
    assert overloaded.refused > overloaded.goodput > 0
    assert len(found.failed) < overloaded.goodput, found.failed
    assert all(overloaded.pages.values())
    assert all(1 <= after <= 10 for after, _ in found.retry_after)
    assert sum(status == 200 for status in found.returned) >= 0.5 * len(found.returned)
