import pytest

from benchmarks.limiter.__main__ import Row, Sizes, main
from benchmarks.limiter.behaviour import most_above
from benchmarks.limiter.contenders import CONTENDERS, Allowance

SMALL = Sizes(calls=20, waiters=20, some_cancelled=100, virtual_seconds=0.5, rounds=1)


@pytest.mark.clients
def test_every_limiter_is_measured_and_the_verdict_is_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([], SMALL) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == SMALL.rounds + 4
    assert said[-1].startswith(f"[{SMALL.rounds + 4}/{SMALL.rounds + 4}] ")
    code = main(["--strict"], SMALL)
    printed = capsys.readouterr().out
    verdicts = [line.split()[-1] for line in printed.splitlines() if line.endswith(("PASS", "MISS"))]
    assert len(verdicts) == 10
    assert code == ("MISS" in verdicts)
    assert f"missed: {verdicts.count('MISS')} of 10" in printed
    assert all(one.name in printed for one in CONTENDERS)


@pytest.mark.parametrize(
    ("figure", "met"),
    [(1.0, True), (1.004, True), (1.006, False), (0.99, False)],
    ids=["at", "rounds", "above", "below"],
)
def test_our_figure_is_held_to_both_bounds_as_printed(figure: float, met: bool) -> None:  # noqa: FBT001
    row = Row("time", {"tidegate": figure, "aiolimiter": 9.0}, at_most=1.0, at_least=1.0)
    assert row.is_met is met
    assert ("PASS" if met else "MISS") in row.line()


@pytest.mark.parametrize(
    ("admitted_seconds", "above"),
    [
        ([], 0),
        ([5.0] * 3, 0),
        ([5.0] * 4, 1),
        ([5.0, 5.0, 5.0, 5.5, 6.0], 0),
        ([5.0, 5.0, 5.0, 5.25, 5.5], 1),
        ([1.0, 9.0, 9.0, 9.0, 9.0, 9.0], 2),
    ],
)
def test_the_fullest_window_is_found(admitted_seconds: list[float], above: float) -> None:
    assert most_above(admitted_seconds, Allowance(per_second=2, burst=3)) == above
