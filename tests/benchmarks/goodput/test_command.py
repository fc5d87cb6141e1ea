from pathlib import Path

import pytest

from benchmarks.goodput.__main__ import main
from benchmarks.goodput.random_scenarios import KINDS, random_scenario

SCENARIO = """
duration_seconds = 40
[limits]
requests_per_minute = 120
input_tokens_per_minute = 1_000_000
output_tokens_per_minute = 1_000_000
enforcement_seconds = 10
[[workload]]
name = "team"
kind = "workers"
workers = 20
"""


FAULTS = """
[log]
lost = 0.01
[[resize]]
at_seconds = 20
replicas = 1
"""


def test_a_scenario_file_is_run_with_every_client(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SCENARIO)
    assert main(["--scenario", str(path), "--seeds", "1", "--jobs", "1"]) == 0
    printed = capsys.readouterr().out
    lines = [line.split()[0] for line in printed.splitlines() if "|" in line]
    assert lines[1:] == ["tidegate", "oracle", "sdk", "aiolimiter"]
    assert "missed: none" in printed


def test_processes_that_share_a_log_are_run_where_they_have_bounds(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    longer = SCENARIO.replace("duration_seconds = 40", "duration_seconds = 80")  # one request is 1 % of the share
    (tmp_path / "four_processes.toml").write_text(f"replicas = 2\n{longer}{FAULTS}")
    monkeypatch.setattr("benchmarks.goodput.__main__._SCENARIOS", tmp_path)
    main(["--scenario", "four_processes", "--seeds", "1", "--jobs", "1"])
    printed = capsys.readouterr().out
    assert "tidegate-shared" in printed
    assert "PASS tidegate-shared share: bound 0.97" in printed


@pytest.mark.parametrize("kind", KINDS)
def test_random_scenarios_depend_on_their_number_alone(kind: str) -> None:
    assert random_scenario(kind, 1) == random_scenario(kind, 1)
    assert random_scenario(kind, 1) != random_scenario(kind, 2)
    assert not random_scenario(kind, 1).upstream.headers.visible


def test_one_random_scenario_is_run_per_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--random", "hidden_deep", "--seeds", "2", "--clients", "oracle", "--jobs", "1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[printed.index("hidden_deep") + 1].startswith("oracle")
    assert "burst_after_idle" not in printed


def test_figures_depend_on_the_first_seed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SCENARIO.replace('"workers"\nworkers = 20', '"poisson"\nrequests_per_second = 3'))

    def figures_of(first: int, seeds: int) -> str:
        options = ["--first-seed", str(first), "--seeds", str(seeds), "--clients", "tidegate", "--jobs", "1"]
        main(["--scenario", str(path), *options])
        return next(line for line in capsys.readouterr().out.splitlines() if line.startswith("tidegate"))

    assert figures_of(3, 1) == figures_of(3, 1) != figures_of(4, 1)


def test_a_trace_shows_every_second_and_the_limiters_estimates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SCENARIO)
    main(["--scenario", str(path), "--seeds", "1", "--clients", "tidegate", "--trace"])
    printed = capsys.readouterr().out
    assert printed.count("s used ") == 41
    assert "pool='sonnet-5-5'" in printed
    assert "believes level" in printed
    assert "LimitLearned" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--scenario", "nowhere"], "'nowhere' was given; a TOML file is allowed, or one of burst_after_idle,"),
        (["--seeds", "0"], "'0' was given; a whole number from 1 is allowed"),
        (["--first-seed", "-1"], "'-1' was given; a whole number from 0 is allowed"),
    ],
)
def test_an_invalid_argument_is_refused(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert said in capsys.readouterr().err


def test_a_scenario_without_callers_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "empty.toml"
    path.write_text("duration_seconds = 1\n")
    with pytest.raises(SystemExit):
        main(["--scenario", str(path)])
    assert "workload: none was given" in capsys.readouterr().err
