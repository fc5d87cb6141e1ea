import math
from dataclasses import replace

import pytest

from soak.verdicts import Sample, percentile_of_histogram, slope, verdicts

MB = 1_048_576
STEADY = [
    Sample(
        at_seconds=5.0 * number,
        resident_bytes=100 * MB,
        descriptors=40,
        tasks=20,
        series=1_000,
        leases=10,
        cpu_seconds=0.1 * number,
        overhead={0.001: 90 * number, 0.01: 100 * number, math.inf: 100 * number},
        bare_seconds=(0.001, 0.002),
        relayed_seconds=(0.001, 0.003),
    )
    for number in range(1, 121)
]
"""Ten minutes."""


def missed(samples: list[Sample]) -> list[str]:
    return [bound.what.partition(",")[0] for bound in verdicts(samples, warm_up_seconds=60) if not bound.is_met]


def test_constant_values_are_within_all_bounds() -> None:
    assert missed(STEADY) == []


def test_growth_during_the_warm_up_does_not_count() -> None:
    young = [replace(each, resident_bytes=(50 + number) * MB) for number, each in enumerate(STEADY[:11])]
    assert missed([*young, *STEADY[11:]]) == []


@pytest.mark.parametrize("mb", [0.9, 1.2])
def test_memory_may_grow_by_one_megabyte_in_ten_minutes(mb: float) -> None:
    grown = [replace(each, resident_bytes=round((100 + mb * each.at_seconds / 600) * MB)) for each in STEADY]
    assert missed(grown) == (["resident memory"] if mb > 1 else [])


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [
        ("tasks", 25, "tasks"),
        ("descriptors", 50, "file descriptors"),
        ("leases", 13, "leases"),
        ("series", 1_001, "more metric series"),
    ],
)
def test_more_in_the_last_third_is_growth(field: str, value: int, what: str) -> None:
    grown = [each if each.at_seconds < 400 else replace(each, **{field: value}) for each in STEADY]  # type: ignore[arg-type]
    assert missed(grown) == [what]


def test_a_disturbance_of_a_minute_is_no_growth() -> None:
    disturbed = [replace(each, tasks=500, leases=300) if 480 < each.at_seconds < 540 else each for each in STEADY]
    assert missed(disturbed) == []


def slower(bare_factor: float) -> list[Sample]:
    """Overhead of which 5 % instead of 1 % is in the slow bucket, from the sixth minute on."""
    slow, found = 0, []
    for each in STEADY:
        slow += 5 if each.at_seconds > 360 else 0
        counts = {bound: count - slow * (bound < 0.01) for bound, count in each.overhead.items()}
        counts[math.inf] = counts[0.01] + slow
        bare = tuple(seconds * (bare_factor if each.at_seconds > 360 else 1) for seconds in each.bare_seconds)
        found.append(replace(each, overhead={**counts, 0.1: counts[math.inf]}, bare_seconds=bare))
    return found


def test_overhead_is_judged_relative_to_the_bare_relay() -> None:
    assert missed(slower(bare_factor=1)) == ["overhead p99"]
    assert missed(slower(bare_factor=20)) == []


@pytest.mark.parametrize(("percent", "seconds"), [(0, 0), (45, 0.5), (90, 1.0), (95, 1.5), (99, 1.9), (100, 2.0)])
def test_a_percentile_is_interpolated_within_its_bucket(percent: float, seconds: float) -> None:
    assert percentile_of_histogram({1.0: 90, 2.0: 100, math.inf: 100}, percent) == pytest.approx(seconds)


def test_a_percentile_beyond_all_bounds_is_the_last_bound() -> None:
    assert percentile_of_histogram({1.0: 90, math.inf: 100}, 99) == 1.0
    assert percentile_of_histogram({}, 99) == 0


def test_a_slope_is_that_of_the_least_squares_line() -> None:
    assert slope([(0, 1), (1, 3), (2, 5)]) == 2
    assert slope([(0, 1)]) == 0
