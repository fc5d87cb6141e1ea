import pytest

from benchmarks.store.__main__ import main
from benchmarks.store.figures import bounds, figures, most_in_any
from benchmarks.store.limiters import OURS
from benchmarks.store.measure import Measured, Plan
from benchmarks.store.worker import Found


@pytest.mark.clients
def test_every_limiter_makes_calls_and_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--followers", "1", "--seconds", "0.3", "--tasks", "5", "--rate", "50"]) == 0
    lines = capsys.readouterr().out.splitlines()[1:5]
    assert [line[:24].strip() for line in lines] == [
        "tidegate",
        "limits, fixed window",
        "limits, moving window",
        "pyrate-limiter",
    ]
    for line in lines:
        processes, pairs = line[24:].split()[:2]
        assert processes == "1"
        assert int(pairs) > 0


def test_the_figures_are_those_of_all_processes() -> None:
    first = Found(pairs=30, busy=[0.001, 0.003], steady=[0.002], admitted=[1.0, 2.0], cpu_seconds=0.1)
    second = Found(pairs=10, busy=[0.002], steady=[0.001, 0.004], admitted=[1.5], cpu_seconds=0.3)
    leader = Found(cpu_seconds=0.2, slowest_turn=0.005)
    plan = Plan(port=1, limiter=OURS, processes=2, seconds=2, tasks=1, per_second=10)
    found = figures(OURS, Measured(plan, [first, second], leader))
    assert found.pairs == (15, 5)
    assert found.busy_ms == (3, 3)
    assert found.steady_ms == (4, 4)
    assert found.cpu_us == pytest.approx(10_000)
    assert found.leader_cpu_us == pytest.approx(5_000)
    assert found.most_in_second == 2 / 1_000
    assert found.late_ms == 5
    assert [(bound.value, bound.is_met) for bound in bounds([found])] == [(2 / 1_000, True), (4, True)]


def test_the_most_in_any_window() -> None:
    assert most_in_any(1.0, [0.0, 0.5, 0.9, 1.0, 1.2]) == 4
    assert most_in_any(1.0, []) == 0
