"""Workloads: sizes and arrival times of requests."""

import random
from typing import Any

import pytest

from benchmarks.goodput.workload import Lengths, RequestShape, Workload, WorkloadKind


def seeded() -> random.Random:
    return random.Random(1)  # noqa: S311 - repeats on purpose


def test_requests_have_the_sizes_of_the_workload_or_else_the_scenario() -> None:
    lengths = Lengths(input_tokens=700, output_tokens=9_000, characters_per_token=3)
    rng = seeded()
    plain = Workload(name="a", kind=WorkloadKind.WORKERS, workers=1)
    assert plain.draw(lengths, rng) == RequestShape(
        model="claude-sonnet-5-5", input_tokens=700, output_tokens=4_096, characters_per_token=3
    )
    own = Workload(
        name="b", kind=WorkloadKind.WORKERS, workers=1, prefix_tokens=300, input_tokens=5,
        output_tokens=6,
    )  # fmt: skip
    shape = own.draw(lengths, rng)
    assert (shape.input_tokens, shape.output_tokens, shape.prefix, shape.prefix_tokens) == (5, 6, "b", 300)
    assert shape.characters == 915


def test_arrivals_of_each_kind_of_workload() -> None:
    rng = seeded()
    burst = Workload(name="a", kind=WorkloadKind.BURST, requests=3, start_seconds=5)
    assert list(burst.arrival_seconds(60, rng)) == [5, 5, 5]
    poisson = Workload(name="a", kind=WorkloadKind.POISSON, requests_per_second=10, start_seconds=5, stop_seconds=50)
    times = list(poisson.arrival_seconds(20, rng))
    assert 5 <= times[0] < times[-1] < 20
    workers = Workload(name="a", kind=WorkloadKind.WORKERS, workers=2)
    assert list(workers.arrival_seconds(60, rng)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"workers": None}, "workers: None was given; a whole number above 0 is allowed"),
        ({"requests": 5}, "requests: 5 was given; kind 'workers' has none"),
        (
            {"kind": WorkloadKind.BURST, "workers": None, "requests": 1.5},
            "requests: 1.5 was given; a whole number",
        ),
        ({"weight": 0}, "weight: 0 was given; a finite number above 0 is allowed"),
        ({"stop_seconds": 0}, "stop_seconds: 0 was given; a finite number above 0 is allowed"),
        ({"model": "gpt"}, "model: 'gpt' was given; allowed are claude-"),
    ],
)
def test_an_invalid_workload_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Workload(**{"name": "a", "kind": WorkloadKind.WORKERS, "workers": 1, **changes})
