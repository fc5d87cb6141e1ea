"""Scenario files of the benchmark: the tables that the simulator does not know."""

from pathlib import Path

import pytest

from benchmarks.goodput.log_network import LogNetwork, Pause
from benchmarks.goodput.scenario import LoadScenario, Resize, load_scenario
from benchmarks.goodput.workload import Lengths, Workload, WorkloadKind
from claude_simulator.scenarios.distributions import Choice
from claude_simulator.scenarios.scenario import HeaderOptions, Scenario

EVERYTHING = """
duration_seconds = 90
replicas = 4

[[resize]]
at_seconds = 30
replicas = 2

[log]
latency_seconds = 0.01
jitter_seconds = 0.02
lost = 0.1
repeated = 0.2
pauses = [{ at_seconds = 60, seconds = 0.2 }]

[headers]
visible = false

[lengths]
input_tokens = { distribution = "choice", values = [100, 10_000], weights = [9, 1] }
output_tokens = 300
characters_per_token = 3.1

[[workload]]
name = "flood"
kind = "workers"
workers = 8
weight = 2
model = "claude-opus-5"
think_seconds = 0.5
deadline_seconds = 30
max_tokens = 500
prefix_tokens = 600
input_tokens = 10
output_tokens = 20
start_seconds = 1
stop_seconds = 70
replica_weights = [1, 0]

[[workload]]
name = "light"
kind = "poisson"
requests_per_second = 0.5

[[workload]]
name = "once"
kind = "burst"
requests = 200
"""


def load(folder: Path, text: str) -> LoadScenario:
    path = folder / "mine.toml"
    path.write_text(text)
    return load_scenario(path)


def test_every_field_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, EVERYTHING) == LoadScenario(
        upstream=Scenario(headers=HeaderOptions(visible=False)),
        lengths=Lengths(
            input_tokens=Choice(values=(100, 10_000), weights=(9, 1)), output_tokens=300, characters_per_token=3.1
        ),
        workloads=(
            Workload(
                name="flood",
                kind=WorkloadKind.WORKERS,
                workers=8,
                weight=2,
                model="claude-opus-5",
                think_seconds=0.5,
                deadline_seconds=30,
                max_tokens=500,
                prefix_tokens=600,
                input_tokens=10,
                output_tokens=20,
                start_seconds=1,
                stop_seconds=70,
                replica_weights=(1, 0),
            ),
            Workload(name="light", kind=WorkloadKind.POISSON, requests_per_second=0.5),
            Workload(name="once", kind=WorkloadKind.BURST, requests=200),
        ),
        duration_seconds=90,
        replicas=4,
        resizes=(Resize(at_seconds=30, replicas=2),),
        log=LogNetwork(
            latency_seconds=0.01,
            jitter_seconds=0.02,
            lost=0.1,
            repeated=0.2,
            pauses=(Pause(at_seconds=60, seconds=0.2),),
        ),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("colour = 1", "colour: no such field"),
        ('[[workload]]\nkind = "workers"\nworkers = 1', "workload[0]: Object missing required field `name`"),
        ('[[workload]]\nname = ""\nkind = "burst"', "workload[0].name: Expected `str` of length >= 1"),
        (
            '[[workload]]\nname = "a"\nkind = "crowd"',
            "workload[0].kind: Invalid enum value 'crowd'; allowed are workers, poisson, burst",
        ),
        (
            '[[workload]]\nname = "a"\nkind = "burst"\nrequests = 1\n' * 2,
            "workload: the name 'a' was given twice; each caller needs its own",
        ),
        (
            '[[workload]]\nname = "a"\nkind = "burst"\nrequests = 1\nreplica_weights = [0]',
            "workload[0].replica_weights: (0,) was given; one above 0 is needed",
        ),
        ("[[resize]]\nat_seconds = 0\nreplicas = 1", "resize[0].at_seconds: 0.0 was given; a finite number above 0"),
        ("[log]\nlost = 1", "log.lost: 1.0 was given; a finite number from 0 and up to 0.5 is allowed"),
        ("replicas = 0", "replicas: 0 was given; a whole number from 1 is allowed"),
        ("duration_seconds = inf", "duration_seconds: inf was given; a finite number above 0 is allowed"),
    ],
)
def test_an_invalid_field_is_named_with_the_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - compared below, brackets and all
        load(tmp_path, text)
    assert str(raised.value).startswith(f"{tmp_path / 'mine.toml'}: {message}")
